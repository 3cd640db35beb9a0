// A Float32Array with a shape, row-major, and the cuts and joins along one axis that latents and pixels need.
import { expected, InvalidOptionError } from '../errors.js';

/** Numbers with a shape. Row-major; latents and pixels are always batch, channels, time, height, width. */
export interface Tensor {
  readonly data: Float32Array;
  readonly shape: readonly number[];
}

/** Index of each axis of a five-dimensional tensor. */
export const axis = { batch: 0, channels: 1, time: 2, height: 3, width: 4 } as const;

/** Returns the number of elements that a shape holds. */
export function sizeOf(shape: readonly number[]): number {
  let size = 1;
  for (const length of shape) size *= length;
  return size;
}

/** Returns a tensor over `data` (not copied), or over new zeros. Throws when the sizes disagree. */
export function createTensor(shape: readonly number[], data?: Float32Array): Tensor {
  const size = sizeOf(shape);
  if (data !== undefined && data.length !== size) {
    throw new InvalidOptionError(
      expected('tensor data', `${size} numbers for shape [${shape.join(', ')}]`, data.length),
    );
  }
  return { data: data ?? new Float32Array(size), shape };
}

/** Returns a tensor of that shape with every element set to `value`. */
export function filled(shape: readonly number[], value: number): Tensor {
  return { data: new Float32Array(sizeOf(shape)).fill(value), shape };
}

/** Returns the length of one axis. Throws when the tensor has no such axis. */
export function lengthOf(tensor: Tensor, axisIndex: number): number {
  const length = tensor.shape[axisIndex];
  if (length === undefined) {
    throw new InvalidOptionError(expected('axis', `below ${tensor.shape.length}`, axisIndex));
  }
  return length;
}

/** Returns whether both shapes are the same. */
export function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((length, index) => length === b[index]);
}

/** Returns a copy of positions [start, end) along one axis. */
export function slice(tensor: Tensor, axisIndex: number, start: number, end: number): Tensor {
  const length = lengthOf(tensor, axisIndex);
  if (!(Number.isInteger(start) && Number.isInteger(end) && 0 <= start && start <= end && end <= length)) {
    throw new InvalidOptionError(expected('slice', `within 0 to ${length}`, `${start} to ${end}`));
  }
  const shape = tensor.shape.with(axisIndex, end - start);
  const result = createTensor(shape);
  const inner = sizeOf(tensor.shape.slice(axisIndex + 1));
  const outer = sizeOf(tensor.shape.slice(0, axisIndex));
  const run = (end - start) * inner;
  for (let row = 0; row < outer; row++) {
    const from = (row * length + start) * inner;
    result.data.set(tensor.data.subarray(from, from + run), row * run);
  }
  return result;
}

/** Returns the tensors joined along one axis, copied. Throws when another axis differs or there are none. */
export function concat(tensors: readonly Tensor[], axisIndex: number): Tensor {
  const [first] = tensors;
  if (first === undefined) throw new InvalidOptionError(expected('tensors to join', 'at least one', 0));
  let total = 0;
  for (const tensor of tensors) {
    const length = lengthOf(tensor, axisIndex);
    if (!sameShape(tensor.shape.with(axisIndex, 0), first.shape.with(axisIndex, 0))) {
      throw new InvalidOptionError(
        expected('shape to join', `[${first.shape.join(', ')}] but for axis ${axisIndex}`, [...tensor.shape]),
      );
    }
    total += length;
  }
  const result = createTensor(first.shape.with(axisIndex, total));
  let at = 0;
  for (const tensor of tensors) {
    writeSlice(result, axisIndex, at, tensor);
    at += lengthOf(tensor, axisIndex);
  }
  return result;
}

/** Writes `part` into `target` from position `start` of one axis on. Throws when it doesn't fit. */
export function writeSlice(target: Tensor, axisIndex: number, start: number, part: Tensor): void {
  const length = lengthOf(target, axisIndex);
  const partLength = lengthOf(part, axisIndex);
  if (start < 0 || start + partLength > length || !sameShape(part.shape, target.shape.with(axisIndex, partLength))) {
    throw new InvalidOptionError(
      expected('part', `to fit [${target.shape.join(', ')}] at ${start} of axis ${axisIndex}`, [...part.shape]),
    );
  }
  const inner = sizeOf(target.shape.slice(axisIndex + 1));
  const outer = sizeOf(target.shape.slice(0, axisIndex));
  const run = partLength * inner;
  for (let row = 0; row < outer; row++) {
    target.data.set(part.data.subarray(row * run, (row + 1) * run), (row * length + start) * inner);
  }
}
