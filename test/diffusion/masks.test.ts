import assert from 'node:assert/strict';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { Compositor, keepMask, type Mask, readMasks } from '../../src/diffusion/masks.js';
import type { Frame } from '../../src/media/frame.js';
import { createVideoWriter } from '../../src/media/write-frames.js';
import type { Manifest } from '../../src/networks/manifest.js';
import { encode, temporaryFolder } from '../media/make-media.js';

const manifest = { latent: { spatialCompression: 8 } } as Manifest;

const reading = { frameRate: 8, startSeconds: 0 };

async function firstMask(
  spec: string,
  source = { width: 48, height: 32 },
  size = source,
  startSeconds = 0,
): Promise<Mask> {
  const masks = readMasks(spec, source, { ...reading, ...size, startSeconds }, undefined);
  const first = await masks.next();
  await masks.return(undefined as never);
  return first.value;
}

function solid(width: number, height: number, value: number): Frame {
  return { width, height, data: new Uint8Array(3 * width * height).fill(value) };
}

describe('a box mask', () => {
  it('covers its pixels and no others', async () => {
    const mask = await firstMask('5, 6, 10, 12');
    for (let y = 0; y < 32; y++) {
      for (let x = 0; x < 48; x++) {
        const isInside = x >= 5 && x < 15 && y >= 6 && y < 18;
        assert.equal(mask[y * 48 + x], isInside ? 1 : 0, `at ${x}, ${y}`);
      }
    }
  });

  it('follows the scaling and cropping of the frames', async () => {
    // 96x32 covers 32x32 at its own height: 32 pixels are cropped off each side.
    const mask = await firstMask('40,0,8,32', { width: 96, height: 32 }, { width: 32, height: 32 });
    assert.deepEqual([mask[7], mask[8], mask[15], mask[16]], [0, 1, 1, 0]);
  });

  it('is refused outside the source', async () => {
    for (const spec of ['-1,0,5,5', '40,0,9,5', '0,0,0,5', '0,30,5,3']) {
      await assert.rejects(firstMask(spec), /Expected mask to be x,y,w,h inside the source's 48x32 pixels/);
    }
  });

  it('goes on without end', async () => {
    const masks = readMasks('0,0,1,1', { width: 8, height: 8 }, { ...reading, width: 8, height: 8 }, undefined);
    const first = (await masks.next()).value;
    for (let frame = 0; frame < 10; frame++) assert.equal((await masks.next()).value, first);
  });
});

describe('a mask file', () => {
  const [black, white] = [solid(48, 32, 0), solid(48, 32, 255)];
  const lossless = ['-c:v', 'ffv1', '-pix_fmt', 'bgr0'];

  it('is read from where the source is when it is a clip, and as it is when it is a picture', async () => {
    const folder = await temporaryFolder();
    const clip = await encode([black, black, black, white, black], 8, join(folder, 'mask.mkv'), ...lossless);
    const picture = await encode([white], 8, join(folder, 'mask.png'), '-frames:v', '1');
    const isWhite = async (path: string, frame: number) =>
      (await firstMask(path, undefined, undefined, frame / reading.frameRate)).every((made) => made === 1);
    assert.deepEqual(await Promise.all([0, 2, 3, 4].map((frame) => isWhite(clip, frame))), [false, false, true, false]);
    assert.deepEqual(await Promise.all([0, 1000].map((frame) => isWhite(picture, frame))), [true, true]);
    const frames = join(folder, 'frames/');
    const writer = await createVideoWriter(frames, { width: 48, height: 32, frameRate: 8 });
    for (const frame of [black, black, black, white, black]) await writer.write(frame);
    await writer.finish();
    assert.deepEqual(await Promise.all([0, 3, 4].map((frame) => isWhite(frames, frame))), [false, true, false]);
    await assert.rejects(isWhite(clip, 80), /startSeconds to be before the end of .*mask\.mkv, got 10/);
  });
});

describe('keepMask', () => {
  it('keeps the positions none of whose pixels, in none of whose frames, is made anew', () => {
    const size = { width: 24, height: 16 };
    const none = new Uint8Array(24 * 16);
    const onePixel = none.slice();
    onePixel[9 * 24 + 15] = 1;
    const keep = keepMask(manifest, [[none], [none, none, onePixel, none]], size);
    assert.deepEqual(keep.shape, [1, 1, 2, 2, 3]);
    assert.deepEqual([...keep.data], [1, 1, 1, 1, 1, 1, /* second frame */ 1, 1, 1, 1, 0, 1]);
  });
});

describe('composite', () => {
  const width = 40;
  const height = 30;
  const mask = new Uint8Array(width * height);
  for (let y = 8; y < 24; y++) mask.fill(1, y * width + 10, y * width + 30);
  const { data } = new Compositor().composite(solid(width, height, 10), solid(width, height, 200), mask);

  it('leaves every pixel outside the mask as it was', () => {
    for (const [i, value] of data.entries()) if (mask[Math.floor(i / 3)] === 0) assert.equal(value, 10);
  });

  it('shows what was made, feathered towards the edge', () => {
    const row = Array.from({ length: width }, (_, x) => data[3 * (15 * width + x)] as number);
    assert.deepEqual(row.slice(13, 27), new Array(14).fill(200));
    for (let x = 10; x < 13; x++) assert.ok((row[x] as number) < (row[x + 1] as number));
  });

  it('shows all of what was made where everything is masked', () => {
    const all = new Compositor().composite(solid(8, 8, 10), solid(8, 8, 200), new Uint8Array(64).fill(1));
    assert.ok(all.data.every((value) => value === 200));
  });

  it('works out the weights of a mask once, and anew for another', () => {
    const compositor = new Compositor();
    let reads = 0;
    const watched = new Proxy(mask, {
      get(target, key) {
        reads++;
        return Reflect.get(target, key);
      },
    });
    const made = [50, 200].map((level) =>
      compositor.composite(solid(width, height, 10), solid(width, height, level), watched),
    );
    assert.deepEqual(made[1]?.data, data);
    const readsOfTwo = reads;
    compositor.composite(solid(width, height, 10), solid(width, height, 200), watched);
    assert.equal(reads, readsOfTwo);
    const none = compositor.composite(solid(width, height, 10), solid(width, height, 200), new Uint8Array(mask.length));
    assert.ok(none.data.every((value) => value === 10));
  });
});
