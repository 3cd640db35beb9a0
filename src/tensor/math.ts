// Element-wise arithmetic of tensors. Sums run in double precision; results are stored as float32.
import { expected, InvalidOptionError } from '../errors.js';
import { createTensor, lengthOf, sameShape, type Tensor } from './tensor.js';

/**
 * Returns a·x + b·y, written into `out` where given (which may be x or y) and into a new tensor otherwise.
 * Throws InvalidOptionError when shapes differ.
 */
export function combine(a: number, x: Tensor, b: number, y: Tensor, out: Tensor = createTensor(x.shape)): Tensor {
  assertSameShape(x, y);
  assertSameShape(x, out);
  const { data: xs } = x;
  const { data: ys } = y;
  const { data: result } = out;
  for (let i = 0; i < result.length; i++) result[i] = a * (xs[i] as number) + b * (ys[i] as number);
  return out;
}

/** Returns the sum of tensors of one shape, each multiplied by its weight (new tensor). Throws InvalidOptionError for none. */
export function weightedSum(...terms: readonly (readonly [weight: number, tensor: Tensor])[]): Tensor {
  const [first] = terms;
  if (first === undefined) throw new InvalidOptionError(expected('terms', 'at least one', 0));
  for (const [, tensor] of terms) assertSameShape(first[1], tensor);
  const weights = terms.map(([weight]) => weight);
  const inputs = terms.map(([, tensor]) => tensor.data);
  const result = createTensor(first[1].shape);
  for (let i = 0; i < result.data.length; i++) {
    let sum = 0;
    for (let k = 0; k < inputs.length; k++) sum += (weights[k] as number) * ((inputs[k] as Float32Array)[i] as number);
    result.data[i] = sum;
  }
  return result;
}

/** Returns a·x (new tensor). */
export function scale(a: number, x: Tensor): Tensor {
  const result = createTensor(x.shape);
  for (let i = 0; i < result.data.length; i++) result.data[i] = a * (x.data[i] as number);
  return result;
}

/** Returns the same tensor, every element brought into [-limit, limit] in place. */
export function clampInPlace(x: Tensor, limit: number): Tensor {
  for (let i = 0; i < x.data.length; i++) x.data[i] = Math.min(Math.max(x.data[i] as number, -limit), limit);
  return x;
}

/** Returns the straight-line blend (new tensor): `from` at amount 0, `to` at amount 1. */
export function lerp(from: Tensor, to: Tensor, amount: number): Tensor {
  return combine(1 - amount, from, amount, to);
}

/** Above this cosine two directions count as parallel, where the formula below would divide by almost nothing. */
const parallelCosine = 0.9995;

/**
 * Returns the blend along the arc between the two (new tensor), each batch entry taken as one vector, so that normal noise
 * stays of unit variance. Nearly parallel, opposite or zero vectors are blended on the straight line. `amounts` are one for
 * all, or one for each position, the same in all channels.
 * Source: K. Shoemake, "Animating rotation with quaternion curves" (SIGGRAPH 1985).
 */
export function slerp(from: Tensor, to: Tensor, amounts: readonly number[] | Float64Array): Tensor {
  assertSameShape(from, to);
  const result = createTensor(from.shape);
  const batch = lengthOf(from, 0);
  const size = from.data.length / batch;
  for (let start = 0; start < result.data.length; start += size) {
    const angle = angleBetween(from.data.subarray(start, start + size), to.data.subarray(start, start + size));
    const weights = Array.from(amounts, (amount) => arcWeights(angle, amount));
    for (let i = 0; i < size; i++) {
      const [a, b] = weights[i % weights.length] as readonly [number, number];
      result.data[start + i] = a * (from.data[start + i] as number) + b * (to.data[start + i] as number);
    }
  }
  return result;
}

/** Returns the angle between the two in radians; undefined where it is not to be divided by. */
function angleBetween(from: Float32Array, to: Float32Array): number | undefined {
  let dot = 0;
  let fromSquare = 0;
  let toSquare = 0;
  for (let i = 0; i < from.length; i++) {
    const a = from[i] as number;
    const b = to[i] as number;
    dot += a * b;
    fromSquare += a * a;
    toSquare += b * b;
  }
  const cosine = dot / Math.sqrt(fromSquare * toSquare);
  return Math.abs(cosine) <= parallelCosine ? Math.acos(cosine) : undefined;
}

function arcWeights(angle: number | undefined, amount: number): readonly [number, number] {
  if (angle === undefined) return [1 - amount, amount];
  return [Math.sin((1 - amount) * angle) / Math.sin(angle), Math.sin(amount * angle) / Math.sin(angle)];
}

/** Returns the mean of all elements; NaN for none. */
export function mean(x: Tensor): number {
  let sum = 0;
  for (const value of x.data) sum += value;
  return sum / x.data.length;
}

/** Returns the unbiased standard deviation of all elements (divided by n - 1, as torch.std); NaN for fewer than two. */
export function standardDeviation(x: Tensor): number {
  const centre = mean(x);
  let sum = 0;
  for (const value of x.data) sum += (value - centre) ** 2;
  return Math.sqrt(sum / (x.data.length - 1));
}

/** Returns the Euclidean length of all elements taken as one vector. */
export function norm(x: Tensor): number {
  let sum = 0;
  for (const value of x.data) sum += value ** 2;
  return Math.sqrt(sum);
}

/** Returns the Euclidean length of x - y. Throws InvalidOptionError when shapes differ. */
export function distance(x: Tensor, y: Tensor): number {
  assertSameShape(x, y);
  let sum = 0;
  for (const [index, value] of x.data.entries()) sum += (value - (y.data[index] as number)) ** 2;
  return Math.sqrt(sum);
}

function assertSameShape(x: Tensor, y: Tensor): void {
  if (!sameShape(x.shape, y.shape)) {
    throw new InvalidOptionError(expected('shape of the other tensor', `[${x.shape.join(', ')}]`, [...y.shape]));
  }
}
