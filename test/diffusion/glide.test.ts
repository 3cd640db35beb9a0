import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { glide } from '../../src/diffusion/glide.js';
import type { Glide } from '../../src/media/clip.js';
import { loadModel } from '../../src/networks/load-model.js';
import { createTensor, type Tensor } from '../../src/tensor/tensor.js';

const { manifest } = await loadModel('test/fixtures/tiny-bundle', { device: 'cpu' });

/** Pixels [1, 3, n, 1, 1] that all have the value of their frame. */
function frames(values: readonly number[]): Tensor {
  return createTensor([1, 3, values.length, 1, 1], Float32Array.from([...values, ...values, ...values]));
}

/** The values of frames after a glide, the clip's given in pieces of `pieceLength` frames. */
async function glided(values: readonly number[], stretches: readonly Glide[], pieceLength: number): Promise<number[]> {
  async function* pieces() {
    for (let at = 0; at < values.length; at += pieceLength) yield frames(values.slice(at, at + pieceLength));
  }
  const made: number[] = [];
  for await (const { data, shape } of glide(pieces(), stretches, manifest)) {
    made.push(...data.subarray(0, shape[2]));
  }
  return made.map((value) => Math.round(value * 1e4) / 1e4);
}

// One frame, then stills of four, each of which has flickered before it settles.
const staircase = [0, ...[1, 2, 3, 4].flatMap((still) => [still + 0.3, still - 0.2, still + 0.1, still])];

describe('glide', () => {
  for (const pieceLength of [1, 3, 5, 17]) {
    it(`spreads steps evenly over the frames of a stretch, in pieces of ${pieceLength}`, async () => {
      const made = await glided(staircase, [{ start: 0, end: 4 }], pieceLength);
      const even = Array.from({ length: 10 }, (_, frame) => Math.round((frame * 4e4) / 13) / 1e4);
      assert.deepEqual(made.slice(0, 10), even);
      // The last one is met at its first frame, 1.3 above the still before it.
      assert.deepEqual(made.slice(10), [3.1, 3.5, 3.9, 4.3, 3.8, 4.1, 4]);
    });
  }

  it('leaves what lies outside of stretches as it is', async () => {
    const made = await glided(staircase, [{ start: 1, end: 3 }], 4);
    assert.deepEqual(made.slice(0, 5), staircase.slice(0, 5));
    assert.deepEqual(made.slice(5, 9), [1.4, 1.8, 2.26, 2.78]);
    assert.deepEqual(made.slice(9), staircase.slice(9));
  });

  it('joins stretches at the still between them', async () => {
    const made = await glided(
      staircase,
      [
        { start: 0, end: 2 },
        { start: 2, end: 4 },
      ],
      17,
    );
    assert.deepEqual(made, [0, 0.4, 0.8, 1.26, 1.78, 2.3, 1.8, 2.1, 2, 2.4, 2.8, 3.26, 3.78, 4.3, 3.8, 4.1, 4]);
  });

  it('makes no fewer frames of latents that break off within a stretch', async () => {
    const made = await glided(staircase.slice(0, 9), [{ start: 0, end: 4 }], 9);
    assert.equal(made.length, 9);
    assert.equal(made.at(-1), 2);
  });
});
