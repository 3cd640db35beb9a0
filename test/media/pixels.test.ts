import assert from 'node:assert/strict';
import { test } from 'node:test';
import { InvalidOptionError, NetworkError } from '../../src/errors.js';
import { planFit } from '../../src/media/fit.js';
import { framesToPixels, pixelsToFrames } from '../../src/media/pixels.js';
import { fitFrame } from '../../src/media/resize.js';
import { drawFrame, solidFrame } from './make-media.js';

test('every byte becomes byte / 127.5 - 1 at its place, and comes back', () => {
  const frames = [0, 1].map((time) =>
    drawFrame(16, 8, (x, y) => [(y * 16 + x) % 256, (y * 16 + x + 128) % 256, (x * y * 7 + time) % 256]),
  );
  const pixels = framesToPixels(frames);
  assert.deepEqual(pixels.shape, [1, 3, 2, 8, 16]);
  const expectedData = new Float32Array(3 * 2 * 8 * 16);
  frames.forEach((frame, time) => {
    frame.data.forEach((byte, at) => {
      expectedData[((at % 3) * 2 + time) * 128 + Math.floor(at / 3)] = byte / 127.5 - 1;
    });
  });
  assert.deepEqual(pixels.data, expectedData);
  assert.deepEqual([...pixelsToFrames(pixels)], frames);
  assert.deepEqual([...pixelsToFrames(pixels, 1)], frames.slice(1));
  assert.deepEqual([...pixelsToFrames(pixels, 0, 1)], frames.slice(0, 1));
});

test('values are clamped and rounded to the nearest level, halves up', () => {
  const values = [
    -1.5,
    -1,
    1,
    9e9,
    0,
    -1 + 1.49 / 127.5,
    -1 + 1.5 / 127.5,
    -1 + 254.51 / 127.5,
    Number.NEGATIVE_INFINITY,
  ];
  const data = new Float32Array(27);
  values.forEach((value, index) => {
    data.fill(value, index * 3, index * 3 + 3);
  });
  const [frame] = pixelsToFrames({ shape: [1, 3, 1, 3, 3], data });
  const planes = [0, 1, 2].map((channel) => Array.from(data.subarray(channel * 9, channel * 9 + 9)));
  const rounded = (value: number) => Math.min(255, Math.max(0, Math.round(value * 127.5 + 127.5)));
  assert.deepEqual(
    Array.from(frame?.data ?? []),
    Array.from({ length: 27 }, (_, at) => rounded(planes[at % 3]?.[Math.floor(at / 3)] ?? 0)),
  );
});

test('NaN, a wrong shape, no frames and frames of two sizes are errors', () => {
  const data = new Float32Array(12);
  data[5] = Number.NaN;
  assert.throws(() => pixelsToFrames({ shape: [1, 3, 1, 2, 2], data }).next(), NetworkError);
  assert.throws(() => pixelsToFrames({ shape: [2, 3, 1, 2, 1], data }).next(), InvalidOptionError);
  assert.throws(() => framesToPixels([]), /Expected frames to be at least one, got 0/);
  const sizes = [solidFrame(4, 2, [0, 0, 0]), solidFrame(2, 4, [0, 0, 0])];
  assert.throws(() => framesToPixels(sizes), /Expected frame size to be 4x2, got "2x4"/);
});

test('a picture fills its frame by cover, contain or fill', () => {
  const source = { width: 640, height: 360 };
  const frame = { width: 128, height: 128 };
  assert.deepEqual(planFit(source, 128, 128, 'cover'), { frame, scaled: { width: 228, height: 128 } });
  assert.deepEqual(planFit(source, 128, 128, 'contain'), { frame, scaled: { width: 128, height: 72 } });
  assert.deepEqual(planFit(source, 128, 128, 'fill'), { frame, scaled: frame });
  assert.deepEqual(planFit(source, 320, undefined, 'cover').frame, { width: 320, height: 180 });
  assert.deepEqual(planFit(source, undefined, 90, 'cover').frame, { width: 160, height: 90 });
  assert.deepEqual(planFit(source, undefined, undefined, 'cover').frame, source);
});

test('resizing keeps flat colours exactly, crops with cover and adds black with contain', async () => {
  const halves = drawFrame(40, 20, (x) => (x < 20 ? [250, 20, 30] : [10, 200, 60]));
  const covered = await fitFrame(halves, planFit(halves, 10, 10, 'cover'));
  assert.deepEqual(Array.from(covered.data.subarray(0, 3)), [250, 20, 30]);
  assert.deepEqual(Array.from(covered.data.subarray(-3)), [10, 200, 60]);
  const contained = await fitFrame(halves, planFit(halves, 10, 10, 'contain'));
  assert.deepEqual([contained.width, contained.height, contained.data.length], [10, 10, 300]);
  assert.deepEqual(Array.from(contained.data.subarray(0, 60)), Array(60).fill(0));
  assert.deepEqual(Array.from(contained.data.subarray(5 * 30, 5 * 30 + 3)), [250, 20, 30]);
});
