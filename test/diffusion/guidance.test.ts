import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { guide, isGuided } from '../../src/diffusion/guidance.js';
import { standardDeviation } from '../../src/tensor/math.js';
import { TorchRandom } from '../../src/tensor/random.js';

const whole = { scale: 4, rescale: 0, start: 0, end: 1 };
const shape = [1, 4, 2, 3, 5];
const random = new TorchRandom(1);
const conditional = random.normal(shape);
const unconditional = random.normal(shape);

describe('isGuided', () => {
  it('is off at a scale of 1 and below', () => {
    assert.deepEqual(
      [0, 0.5, 1, 1.01].map((scale) => isGuided({ ...whole, scale }, 0, 10)),
      [false, false, false, true],
    );
  });

  it('truncates the interval bounds', () => {
    const guided = (start: number, end: number) =>
      [0, 1, 2, 3, 4, 5, 6].filter((call) => isGuided({ ...whole, start, end }, call, 7));
    assert.deepEqual(guided(0, 1), [0, 1, 2, 3, 4, 5, 6]);
    assert.deepEqual(guided(0.3, 0.8), [2, 3, 4]);
    assert.deepEqual(guided(0.5, 0.5), []);
  });
});

describe('guide', () => {
  it('is the unconditional prediction plus the scaled difference', () => {
    const { data } = guide(conditional, unconditional, whole);
    for (const [i, value] of data.entries()) {
      const base = unconditional.data[i] as number;
      assert.ok(Math.abs(value - (base + 4 * ((conditional.data[i] as number) - base))) < 1e-6);
    }
  });

  it('brings the deviation back to the conditional one at rescale 1, and part of the way below', () => {
    const plain = standardDeviation(guide(conditional, unconditional, whole));
    const wanted = standardDeviation(conditional);
    const full = standardDeviation(guide(conditional, unconditional, { ...whole, rescale: 1 }));
    const half = standardDeviation(guide(conditional, unconditional, { ...whole, rescale: 0.5 }));
    assert.ok(Math.abs(full - wanted) < 1e-5);
    assert.ok(Math.abs(half - (plain + wanted) / 2) < 1e-5);
  });
});
