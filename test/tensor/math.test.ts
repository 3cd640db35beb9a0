import assert from 'node:assert/strict';
import { test } from 'node:test';
import { InvalidOptionError } from '../../src/errors.js';
import {
  clampInPlace,
  combine,
  lerp,
  mean,
  scale,
  slerp,
  standardDeviation,
  weightedSum,
} from '../../src/tensor/math.js';
import { TorchRandom } from '../../src/tensor/random.js';
import { createTensor } from '../../src/tensor/tensor.js';

const x = createTensor([2, 2], Float32Array.of(1, 2, 3, 4));
const y = createTensor([2, 2], Float32Array.of(-1, 0, 8, 0.5));

test('combine gives a·x + b·y in a new tensor', () => {
  const result = combine(2, x, -0.5, y);
  assert.deepEqual([...result.data], [2.5, 4, 2, 7.75]);
  assert.deepEqual(result.shape, [2, 2]);
  assert.deepEqual([...x.data], [1, 2, 3, 4]);
});

test('combine writes into out, which may be one of its inputs', () => {
  const target = createTensor([2, 2], Float32Array.of(1, 2, 3, 4));
  assert.equal(combine(2, target, 1, y, target), target);
  assert.deepEqual([...target.data], [1, 4, 14, 8.5]);
});

test('shapes that differ are refused, also with as many elements', () => {
  const flat = createTensor([4]);
  assert.throws(() => combine(1, x, 1, flat), InvalidOptionError);
  assert.throws(() => combine(1, x, 1, y, flat), InvalidOptionError);
  assert.throws(() => slerp(x, flat, [0.5]), InvalidOptionError);
});

test('weightedSum adds any number of tensors, rounding once', () => {
  assert.deepEqual([...weightedSum([2, x], [-1, y], [0.5, x]).data], [3.5, 5, -0.5, 9.5]);
  assert.deepEqual([...weightedSum([3, x]).data], [3, 6, 9, 12]);
  const large = createTensor([1], Float32Array.of(2 ** 25));
  assert.deepEqual([...weightedSum([1, large], [1, createTensor([1], Float32Array.of(1))], [-1, large]).data], [1]);
  assert.throws(() => weightedSum(), InvalidOptionError);
  assert.throws(() => weightedSum([1, x], [1, createTensor([4])]), InvalidOptionError);
});

test('clampInPlace keeps the tensor and brings its elements into bounds', () => {
  const target = createTensor([4], Float32Array.of(-3, -0.5, 1, 2));
  assert.equal(clampInPlace(target, 1), target);
  assert.deepEqual([...target.data], [-1, -0.5, 1, 1]);
});

test('scale and lerp', () => {
  assert.deepEqual([...scale(3, x).data], [3, 6, 9, 12]);
  assert.deepEqual([...lerp(x, y, 0.25).data], [0.5, 1.5, 4.25, 3.125]);
});

test('slerp follows the arc of each batch entry and meets both ends', () => {
  const from = createTensor([2, 2], Float32Array.of(1, 0, 0, 2));
  const to = createTensor([2, 2], Float32Array.of(0, 1, 2, 0));
  const halfway = slerp(from, to, [0.5]).data;
  const root = Math.fround(Math.SQRT1_2);
  assert.deepEqual([...halfway], [root, root, 2 * root, 2 * root]);
  assert.deepEqual(slerp(from, to, [0]), from);
  const end = slerp(from, to, [1]).data;
  for (const [i, value] of to.data.entries()) assert.ok(Math.abs(value - (end[i] as number)) < 1e-6);
});

test('slerp keeps the deviation of noise, where lerp shrinks it', () => {
  const random = new TorchRandom(3);
  const from = random.normal([1, 4096]);
  const to = random.normal([1, 4096]);
  assert.ok(Math.abs(standardDeviation(slerp(from, to, [0.5])) - 1) < 0.03);
  assert.ok(standardDeviation(lerp(from, to, 0.5)) < 0.74);
});

test('slerp of parallel, opposite and zero vectors is the straight line', () => {
  for (const other of [scale(1.5, x), scale(-1, x), scale(0, x)]) {
    assert.deepEqual(slerp(x, other, [0.3]), lerp(x, other, 0.3));
  }
});

test('mean and standard deviation are those of all elements, unbiased', () => {
  assert.equal(mean(x), 2.5);
  assert.equal(standardDeviation(x), Math.sqrt(5 / 3));
  assert.ok(Number.isNaN(standardDeviation(createTensor([1]))));
});
