import assert from 'node:assert/strict';
import { it } from 'node:test';
import { releaseLate } from '../../src/diffusion/release.js';
import type { Schedule } from '../../src/schedulers/scheduler.js';
import { combine } from '../../src/tensor/math.js';
import { createTensor, filled } from '../../src/tensor/tensor.js';

it('puts the noised source back until a position is due, in the middle of a step by its part', () => {
  const levels = [0.5, 0.25];
  const schedule = {
    timesteps: [500, 250],
    addNoise: (clean: Parameters<Schedule['addNoise']>[0], noise: typeof clean, call: number) =>
      combine(1, clean, levels[call] as number, noise),
  } as unknown as Schedule;
  // Two channels; positions that are made anew not at all, for a quarter, half, three quarters and all of the two calls.
  const shape = [1, 2, 1, 1, 5];
  const shares = createTensor([1, 1, 1, 1, 5], Float32Array.of(0, 0.25, 0.5, 0.75, 1));
  const release = releaseLate(filled(shape, 8), shares, schedule, filled(shape, 4));
  const twice = (row: number[]) => [...row, ...row];
  assert.deepEqual([...release(filled(shape, 10), 0).data], twice([10, 10, 10, 10, 10]));
  // Noised to the second level, the source is 9; what the first call made is 5.
  assert.deepEqual([...release(filled(shape, 5), 1).data], twice([9, 9, 9, 7, 5]));
  assert.deepEqual([...release(filled(shape, 4), 2).data], twice([8, 6, 4, 4, 4]));
});
