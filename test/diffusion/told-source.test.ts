import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tellSource } from '../../src/diffusion/told-source.js';
import type { Frame } from '../../src/media/frame.js';
import { framesToPixels } from '../../src/media/pixels.js';
import { loadModel } from '../../src/networks/load-model.js';
import { familyFixtures } from '../families/fixtures.js';
import { solidFrame } from '../media/make-media.js';

const size = { width: 32, height: 16 };

test('a frame is made pixels of once for each of its parts, and the event loop turns in between', async () => {
  let turns = 0;
  const turn = () => {
    turns++;
    turning = setImmediate(turn);
  };
  let turning = setImmediate(turn);
  const model = await loadModel(`${familyFixtures}tiny-wan-vace`, { device: 'cpu', threads: 1 });
  try {
    /** The turns of the event loop at which a frame's bytes were looked at. */
    const looks: number[][] = [];
    const watched = (): Frame => {
      const { data } = solidFrame(size.width, size.height, [10, 200, 90]);
      const seen: number[] = [];
      looks.push(seen);
      return Object.defineProperty({ ...size, data }, 'data', {
        get: () => {
          seen.push(turns);
          return data;
        },
      });
    };
    framesToPixels([watched()]);
    const once = looks.pop()?.length ?? 0;
    const mask = new Uint8Array(size.width * size.height).fill(1, 0, 100);
    const frames = Array.from({ length: 9 }, () => ({ frame: watched(), mask }));
    await tellSource(model, frames, size, {});
    for (const seen of looks) assert.equal(seen.length, 2 * once);
    assert.equal(new Set(looks.flat()).size, 2 * frames.length);
  } finally {
    clearImmediate(turning);
    await model.close();
  }
});
