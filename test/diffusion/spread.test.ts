import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { atFront, changeBefore, changedAt } from '../../src/diffusion/spread.js';
import { TorchRandom } from '../../src/tensor/random.js';
import { createTensor } from '../../src/tensor/tensor.js';

const random = new TorchRandom(5);
const shape = [1, 4, 1, 9, 16];
const from = random.normal(shape);
const to = random.normal(shape);
const changes = new Float64Array(9 * 16);
for (const [at, value] of from.data.entries()) {
  changes[at % changes.length] = (changes[at % changes.length] as number) + (value - (to.data[at] as number)) ** 2;
}

describe('what lies before a position', () => {
  it('is the change nearer to the middle of all change, and half its own', () => {
    // A row whose changes are 1, 4, 0 and 4: their middle lies at (0 + 4 + 12) / 9.
    const row = createTensor([1, 2, 1, 1, 4], Float32Array.of(1, 0, 0, 2, 0, 2, 0, 0));
    const before = changeBefore(createTensor(row.shape), row);
    const expected = [8.5, 2, 0, 6].map((share) => share / 9);
    assert.ok(before.every((share, index) => Math.abs(share - (expected[index] as number)) < 1e-12));
  });

  it('is measured in rows as in columns', () => {
    const upright = createTensor([1, 1, 1, 3, 1], Float32Array.of(1, 0, 3));
    const lying = createTensor([1, 1, 1, 1, 3], upright.data);
    assert.deepEqual(
      changeBefore(createTensor(upright.shape), upright),
      changeBefore(createTensor(lying.shape), lying),
    );
  });

  it('is nothing where nothing changes', () => {
    assert.ok(changeBefore(from, from).every((share) => share === 0));
  });
});

describe('a change that spreads', () => {
  const before = changeBefore(from, to);
  const total = changes.reduce((sum, change) => sum + change);

  for (const spread of [0, 0.3, 0.5, 0.8, 0.95]) {
    it(`goes on at the pace that is asked for, spread by ${spread}`, () => {
      for (const share of [0, 0.1, 0.35, 0.5, 0.8, 1]) {
        const changed = changedAt(before, share, spread);
        const done = changes.reduce((sum, change, at) => sum + change * (changed[at] as number), 0) / total;
        // Positions change one by one, so the pace is even but for their size.
        assert.ok(Math.abs(done - share) < 0.01, `${done} of ${share}`);
      }
    });
  }

  it('leaves little half changed, the less the further it spreads', () => {
    const halfChanged = (spread: number) => changedAt(before, 0.5, spread).filter((own) => own > 0 && own < 1).length;
    assert.equal(halfChanged(0), changes.length);
    assert.ok(halfChanged(0.8) < changes.length / 3);
    assert.ok(halfChanged(0.95) < halfChanged(0.8) / 2);
  });

  it('starts and ends with all positions', () => {
    assert.ok(changedAt(before, 0, 0.8).every((own) => own === 0));
    assert.ok(changedAt(before, 1, 0.8).every((own) => own === 1));
    assert.ok(changedAt(before, 0.3, 0).every((own) => own === 0.3));
  });
});

it('the front is at what is half changed, and at its neighbours in all directions', () => {
  const changed = Float64Array.of(...[1, 1, 1, 1], ...[1, 0.5, 1, 0], ...[1, 1, 0.25, 0]);
  assert.deepEqual([...atFront(changed, 4)], [...[1, 1, 1, 0], ...[1, 1, 1, 0.75], ...[1, 1, 1, 0.75]]);
});
