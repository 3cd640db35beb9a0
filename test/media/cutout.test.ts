import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import sharp from 'sharp';
import { MediaError } from '../../src/errors.js';
import { readCutout } from '../../src/media/cutout.js';
import { ffmpeg, temporaryFolder } from './make-media.js';

const side = 48;
const folder = temporaryFolder();

/** Writes a picture of 60x40 that shows, in columns 10 to 29 and rows 20 to 29, `shown`, and nothing elsewhere. */
async function withBox(name: string, shown: readonly number[]): Promise<string> {
  const [width, height, channels] = [60, 40, shown.length as 2 | 4];
  const data = Buffer.alloc(width * height * channels);
  for (let y = 20; y < 30; y++) for (let x = 10; x < 30; x++) data.set(shown, (y * width + x) * channels);
  const path = join(await folder, name);
  await sharp(data, { raw: { width, height, channels } }).toFile(path);
  return path;
}

/** Returns the four values, times 255, at a place of a cutout. */
async function valuesAt(path: string, ...places: (readonly [x: number, y: number])[]): Promise<number[][]> {
  const { data, shape } = await readCutout(path, side);
  assert.deepEqual(shape, [1, 4, side, side]);
  return places.map(([x, y]) =>
    [0, 1, 2, 3].map((channel) => Math.round(255 * (data[(channel * side + y) * side + x] as number))),
  );
}

test('what is seen of a picture fills the square, its colours multiplied by its opacity', async () => {
  const path = await withBox('half.png', [200, 100, 50, 128]);
  const [middle, left, above, below] = await valuesAt(path, [24, 24], [1, 24], [24, 8], [24, 40]);
  assert.deepEqual(middle, [100, 50, 25, 128]);
  assert.deepEqual(left, middle);
  assert.deepEqual(above, [0, 0, 0, 0]);
  assert.deepEqual(below, above);
});

test('grey pictures, pictures without transparency and turned ones are taken too', async () => {
  assert.deepEqual(await valuesAt(await withBox('grey.png', [80, 255]), [24, 24]), [[80, 80, 80, 255]]);
  const tall = join(await folder, 'tall.jpg');
  const halves = Buffer.alloc(40 * 20 * 3, 255);
  halves.fill(0, 0, 20 * 20 * 3);
  // Upright it is 40 high and 20 wide.
  await sharp(halves, { raw: { width: 20, height: 40, channels: 3 } })
    .rotate(90)
    .withMetadata({ orientation: 8 })
    .toFile(tall);
  const [top, bottom, beside] = await valuesAt(tall, [24, 6], [24, 42], [4, 24]);
  assert.deepEqual(top, [0, 0, 0, 255]);
  assert.deepEqual(bottom, [255, 255, 255, 255]);
  assert.deepEqual(beside, [0, 0, 0, 0]);
});

test('what shows nothing, is no still picture or breaks off is refused', async () => {
  const clip = join(await folder, 'clip.mp4');
  await ffmpeg('-f', 'lavfi', '-i', 'testsrc=size=32x32:duration=1', clip);
  const broken = join(await folder, 'broken.png');
  await writeFile(
    broken,
    (
      await sharp({ create: { width: 64, height: 64, channels: 3, background: 'red' } })
        .png()
        .toBuffer()
    ).subarray(0, 90),
  );
  for (const [path, message] of [
    [
      await withBox('nothing.png', [255, 0, 0, 0]),
      /nothing\.png to show something, got a picture that is transparent all over/,
    ],
    [clip, /clip\.mp4 to be a still picture.*Save a frame of it as PNG/],
    [broken, /broken\.png to be a whole image/],
    [join(await folder, 'missing.png'), /missing\.png to be a readable file, got no such file/],
  ] as const) {
    await assert.rejects(readCutout(path, side), (error) => error instanceof MediaError && message.test(error.message));
  }
});
