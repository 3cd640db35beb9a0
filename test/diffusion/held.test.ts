import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { buildCondition, keepFrames } from '../../src/diffusion/conditions.js';
import { frameStarts } from '../../src/diffusion/geometry.js';
import { holdNear } from '../../src/diffusion/held.js';
import type { Manifest } from '../../src/networks/manifest.js';
import type { Schedule } from '../../src/schedulers/scheduler.js';
import { createTensor, filled } from '../../src/tensor/tensor.js';

// Three latent frames of one position and two channels: held fast, half, and not at all.
const shape = [1, 2, 3, 1, 1];
const known = keepFrames(
  keepFrames(undefined, shape, filled([1, 2, 1, 1, 1], 8), 0),
  shape,
  filled([1, 2, 1, 1, 1], 4),
  1,
  0.5,
);
const schedule = { sigmas: [1, 0.5, 0.25, 0], timesteps: [1000, 500, 250] } as unknown as Schedule;
const silent = { share: 0, source: { normal: () => assert.fail('no noise is wanted') } };

function values(first: number): Float32Array {
  return Float32Array.from({ length: 6 }, (_, index) => first + index);
}

describe('what is held', () => {
  it('is mixed in by its share, and left alone until the level is at most 1 less that', () => {
    const hold = holdNear(known, schedule, silent);
    const start = hold(createTensor(shape, values(0)), 0);
    assert.deepEqual([...start.data], [8, 2.5, 2, 8, 4, 5]);
    // The step from level 1 moves what is not held alone, the one from level 0.5 what is half held too.
    assert.deepEqual([...hold(createTensor(shape, values(10)), 1).data], [8, 2.5, 12, 8, 4, 15]);
    assert.deepEqual([...hold(createTensor(shape, values(20)), 2).data], [8, 21, 22, 8, 24, 25]);
    assert.deepEqual([...hold(createTensor(shape, values(30)), 3).data], [8, 31, 32, 8, 34, 35]);
  });

  it('is shown with noise where it is held fast, less of it at each level, and never anew after the last call', () => {
    const drawn: (readonly number[])[] = [];
    const normal = (wanted: readonly number[]) => {
      drawn.push(wanted);
      return createTensor(wanted, Float32Array.of(1, 2, 0, 0, 0, 0));
    };
    const hold = holdNear(known, schedule, { share: 0.5, source: { normal } });
    const atStart = hold(createTensor(shape), 0);
    // One position's channels lie side by side in the noise.
    assert.deepEqual([...atStart.data], [8.5, 2, 0, 9, 2, 0]);
    assert.deepEqual([...hold(createTensor(shape), 1).data], [8.125, 2, 0, 8.25, 2, 0]);
    const before = hold(createTensor(shape), 2);
    assert.deepEqual([...hold(createTensor(shape), 3).data.slice(0, 1)], [before.data[0]]);
    assert.deepEqual(
      drawn,
      [1, 2, 3].map(() => [1, 3, 2]),
    );
  });

  it('is told to the denoiser as shares, without latents', () => {
    const denoiser = { conditionMask: ['keep'], knownFrames: 'held' };
    const manifest = { latent: { temporalCompression: 8 }, graphs: { denoiser } } as unknown as Manifest;
    const condition = buildCondition(manifest, { known });
    assert.equal(condition?.conditionLatents, undefined);
    assert.deepEqual([...(condition?.conditionMask.data ?? [])], [1, 0.5, 0]);
    assert.deepEqual([...frameStarts(manifest, 5, [16, 8]).data], [16, 8, 0, 1, 9]);
  });
});
