import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { buildCondition, constrainTo, keepFrames, mix, requireTask } from '../../src/diffusion/conditions.js';
import type { Manifest } from '../../src/networks/manifest.js';
import type { Schedule } from '../../src/schedulers/scheduler.js';
import { createTensor, filled } from '../../src/tensor/tensor.js';

const shape = [1, 2, 3, 1, 2];
const positions = 6;

function manifestWith(conditionMask: ('keep' | 'keep-frames' | 'follow')[] | undefined): Manifest {
  const latent = { temporalCompression: 2 };
  return {
    name: 'some-model',
    tasks: ['text'],
    latent,
    graphs: { denoiser: { conditionMask } },
  } as unknown as Manifest;
}

describe('keepFrames', () => {
  it('keeps frames at their time, beside what was known before', () => {
    const first = keepFrames(undefined, shape, filled([1, 2, 1, 1, 2], 5), 0);
    const both = keepFrames(first, shape, filled([1, 2, 1, 1, 2], 7), 2);
    assert.deepEqual([...both.mask.data], [1, 1, 0, 0, 1, 1]);
    assert.deepEqual([...both.latents.data], [5, 5, 0, 0, 7, 7, 5, 5, 0, 0, 7, 7]);
    assert.deepEqual([...first.mask.data], [1, 1, 0, 0, 0, 0], 'what was known before is not written to');
  });
});

describe('buildCondition', () => {
  const known = keepFrames(undefined, shape, filled([1, 2, 1, 1, 2], 5), 1);
  const follow = filled(shape, 9);

  it('is nothing when nothing is known, or the denoiser takes no conditions', () => {
    assert.equal(buildCondition(manifestWith(['keep', 'follow']), {}), undefined);
    assert.equal(buildCondition(manifestWith(undefined), { known, follow }), undefined);
  });

  it('follows the source wherever nothing is kept', () => {
    const condition = buildCondition(manifestWith(['keep', 'follow']), { known, follow });
    assert.deepEqual([...(condition?.conditionLatents?.data ?? [])], [9, 9, 5, 5, 9, 9, 9, 9, 5, 5, 9, 9]);
    assert.deepEqual([...(condition?.conditionMask.data ?? [])], [0, 0, 1, 1, 0, 0, 1, 1, 0, 0, 1, 1]);
  });

  it('puts the channels in the order of the manifest, and leaves out those that it lacks', () => {
    const swapped = buildCondition(manifestWith(['follow', 'keep']), { known, follow });
    assert.deepEqual([...(swapped?.conditionMask.data ?? [])], [1, 1, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0]);
    const keepOnly = buildCondition(manifestWith(['keep']), { known, follow });
    assert.deepEqual([...(keepOnly?.conditionMask.data ?? [])], [0, 0, 1, 1, 0, 0]);
    assert.deepEqual([...(keepOnly?.conditionLatents?.data ?? [])], [0, 0, 5, 5, 0, 0, 0, 0, 5, 5, 0, 0]);
  });

  it('tells of pixel frames one by one, and lets what is kept go before', () => {
    // Frames 0 and 3 of five: latent frame 1 is known in the first of its two frames.
    const told = {
      latents: createTensor(
        shape,
        Float32Array.from({ length: 12 }, (_, at) => at),
      ),
      frames: createTensor([1, 2, 3, 1, 2], Float32Array.of(1, 1, 1, 1, 0, 0, 1, 1, 0, 0, 0, 0)),
    };
    const alone = buildCondition(manifestWith(['keep-frames', 'keep']), { told });
    assert.deepEqual([...(alone?.conditionLatents?.data ?? [])], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    assert.deepEqual(alone?.conditionMask.shape, [1, 3, 3, 1, 2]);
    assert.deepEqual([...(alone?.conditionMask.data ?? [])], [...told.frames.data, 1, 1, 0, 0, 0, 0]);
    const both = buildCondition(manifestWith(['keep-frames']), { told, known });
    assert.deepEqual([...(both?.conditionLatents?.data ?? [])], [0, 1, 5, 5, 4, 5, 6, 7, 5, 5, 10, 11]);
    assert.deepEqual([...(both?.conditionMask.data ?? [])], [1, 1, 1, 1, 0, 0, 1, 1, 1, 1, 0, 0]);
  });
});

describe('constrainTo', () => {
  const known = keepFrames(undefined, shape, filled([1, 2, 1, 1, 2], 4), 0);
  const noise = filled(shape, 100);
  const schedule = {
    timesteps: [900, 500],
    addNoise: (clean, added, call) => ({
      shape,
      data: clean.data.map((x, i) => x + (added.data[i] as number) * (2 - call)),
    }),
  } as Pick<Schedule, 'timesteps' | 'addNoise'> as Schedule;
  const made = filled(shape, -1);

  it('puts back what is known at the level of the next call, and clean after the last one', () => {
    const constrain = constrainTo(known, schedule, noise);
    assert.deepEqual([...constrain(made, 1).data], [104, 104, -1, -1, -1, -1, 104, 104, -1, -1, -1, -1]);
    assert.deepEqual([...constrain(made, 2).data], [4, 4, -1, -1, -1, -1, 4, 4, -1, -1, -1, -1]);
  });
});

describe('mix', () => {
  it('applies one mask to every channel', () => {
    const mask = createTensor([1, 1, 3, 1, 2], Float32Array.from([1, 0, 0, 0, 0, 1]));
    const { data } = mix(filled(shape, 0), filled(shape, 3), mask);
    for (const [i, value] of data.entries()) assert.equal(value, 3 * (mask.data[i % positions] as number));
  });
});

describe('requireTask', () => {
  it('names what the model does instead', () => {
    requireTask(manifestWith(undefined), 'text');
    assert.throws(
      () => requireTask(manifestWith(undefined), 'inpaint'),
      /"some-model" to be able to do "inpaint".*text/,
    );
  });
});
