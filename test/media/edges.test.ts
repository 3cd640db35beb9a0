import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findEdges } from '../../src/media/edges.js';
import { openSafetensors } from '../../src/tensor/safetensors.js';
import { goldenPath } from '../tensor/goldens.js';
import { drawFrame, solidFrame } from './make-media.js';

/** Returns the picture as text, a row a line: # for white, a space for black. */
function lines({ width, height, data }: { width: number; height: number; data: Uint8Array }): string[] {
  return Array.from({ length: height }, (_, y) =>
    Array.from({ length: width }, (_, x) => (data[(y * width + x) * 3] === 255 ? '#' : ' ')).join(''),
  );
}

test('edges are those that OpenCV finds, pixel for pixel', async () => {
  const file = await openSafetensors(goldenPath('edges.safetensors'));
  const names = [...file.entries.keys()].filter((key) => key.endsWith('.picture')).map((key) => key.split('.')[0]);
  assert.equal(names.length, 7);
  for (const name of names) {
    const picture = await file.readIntegers(`${name}.picture`);
    const [height = 0, width = 0] = picture.shape;
    const found = findEdges({ width, height, data: Uint8Array.from(picture.data, Number) });
    const wanted = await file.readIntegers(`${name}.edges`);
    assert.deepEqual([found.width, found.height], [width, height]);
    assert.deepEqual(
      found.data,
      Uint8Array.from({ length: width * height * 3 }, (_, at) => Number(wanted.data[Math.floor(at / 3)])),
      name,
    );
  }
  await file.close();
});

test('a square is drawn as its outline, and a plain picture is black', () => {
  const square = drawFrame(9, 8, (x, y) => (x >= 3 && x < 7 && y >= 3 && y < 6 ? [255, 255, 255] : [0, 0, 0]));
  assert.deepEqual(lines(findEdges(square)), [
    '         ',
    '         ',
    '    ##   ',
    '   #  #  ',
    '  #   #  ',
    '   ####  ',
    '         ',
    '         ',
  ]);
  assert.ok(findEdges(solidFrame(5, 4, [200, 30, 90])).data.every((level) => level === 0));
});

test('a step counts by its steepest channel: faint ones are no edges, middling ones only where they touch strong ones', () => {
  const step = (level: number) => drawFrame(6, 3, (x) => [0, x >= 3 ? level : 0, 0]);
  // A step of n between two columns has a derivative of 4n.
  assert.ok(findEdges(step(25)).data.every((level) => level === 0));
  assert.ok(findEdges(step(50)).data.every((level) => level === 0));
  assert.deepEqual(lines(findEdges(step(51))), ['  #   ', '  #   ', '  #   ']);
  const fading = lines(findEdges(drawFrame(6, 16, (x, y) => [0, 0, x >= 3 ? 80 - 5 * y : 0])));
  const drawn = fading.filter((row) => row.includes('#')).length;
  // From the seventh row on, steps are of 50 or less.
  assert.ok(drawn > 7 && drawn < 16, `${drawn} rows`);
  assert.ok(fading.slice(drawn).every((row) => row === '      '));
});
