import assert from 'node:assert/strict';
import { it } from 'node:test';
import { fillFront, type Start, sliceStart } from '../../src/diffusion/start.js';
import { createTensor } from '../../src/tensor/tensor.js';

/** Latents [1, 1, 3, 1, 1]. */
const frames = (...values: number[]) => createTensor([1, 1, values.length, 1, 1], Float32Array.from(values));
const start: Start = {
  source: frames(1, 2, 3),
  renewal: frames(0, 0.5, 1),
  follow: frames(4, 5, 6),
  noise: frames(7, 8, 9),
  known: { latents: frames(1, 0, 0), mask: frames(1, 0, 0) },
  told: { latents: frames(2, 0, 0), frames: frames(1, 0, 0) },
};
const values = (filled: Start) => [
  ...[filled.source, filled.renewal, filled.follow, filled.noise].map((one) => [...(one?.data ?? [])]),
  ...[filled.known?.latents, filled.known?.mask, filled.told?.latents].map((one) => [...(one?.data ?? [])]),
];

it('frames in front are the first one again, in all that a run starts from but what the denoiser is told', () => {
  assert.deepEqual(values(fillFront(start, 2)), [
    [1, 1, 1, 2, 3],
    [0, 0, 0, 0.5, 1],
    [4, 4, 4, 5, 6],
    [7, 7, 7, 8, 9],
    [1, 1, 1, 0, 0],
    [1, 1, 1, 0, 0],
    [2, 0, 0, 0, 0],
  ]);
});

it('a window has its part of all that a run starts from', () => {
  assert.deepEqual(values(sliceStart(start, { start: 1, end: 3 })), [
    ...[
      [2, 3],
      [0.5, 1],
      [5, 6],
      [8, 9],
    ],
    ...[
      [0, 0],
      [0, 0],
      [0, 0],
    ],
  ]);
});
