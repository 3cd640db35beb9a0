import assert from 'node:assert/strict';
import { test } from 'node:test';
import { InvalidOptionError } from '../../src/errors.js';
import { TorchRandom } from '../../src/tensor/random.js';
import { readGoldens } from './goldens.js';

const { tensors } = await readGoldens('random.safetensors');

/** Compares bits, so that -0 and 0 differ. */
function assertSameBits(actual: Float32Array, golden: Float32Array | undefined, name: string): void {
  assert.ok(golden, name);
  const bitsOf = (data: Float32Array) => new Uint32Array(data.buffer, data.byteOffset, data.length);
  assert.deepEqual(bitsOf(actual), bitsOf(golden), name);
}

test('one draw has the bits of torch.randn, whatever the seed and the size', () => {
  const single = [...tensors].filter(([name]) => /^\d+\/\d+$/.test(name));
  assert.equal(single.length, 6 * 12);
  for (const [name, golden] of single) {
    const [seed = '', size] = name.split('/');
    assertSameBits(new TorchRandom(BigInt(seed)).normal([Number(size)]).data, golden.data, name);
  }
});

test('draws from one seed go on where the last one ended, half pairs included', () => {
  for (const sequence of ['mixed', 'blocks', 'single']) {
    const random = new TorchRandom(1234);
    const draws = [...tensors].filter(([name]) => name.startsWith(`${sequence}/`));
    draws.sort(([a], [b]) => a.localeCompare(b, 'en', { numeric: true }));
    assert.ok(draws.length > 3);
    for (const [name, golden] of draws) assertSameBits(random.normal(golden.shape).data, golden.data, name);
  }
});

test('a five-dimensional draw is filled in row-major order', () => {
  const golden = tensors.get('long');
  const { data, shape } = new TorchRandom(7).normal([2, 3, 5, 7, 101]);
  assert.deepEqual(shape, golden?.shape);
  assertSameBits(data, golden?.data, 'long');
});

test('a number and the bigint of the same value are the same seed', () => {
  assert.deepEqual(new TorchRandom(42).normal([20]), new TorchRandom(42n).normal([20]));
});

test('a seed that torch would not take, or that would be rounded, is refused', () => {
  for (const seed of [-1, 0.5, Number.NaN, 2 ** 53, -1n, 2n ** 64n]) {
    assert.throws(() => new TorchRandom(seed), InvalidOptionError);
  }
});
