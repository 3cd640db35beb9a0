// What a call gives for the inputs of a graph: held against what the graph takes, repeated to one batch, in its types.
import { expected, InvalidOptionError } from '../errors.js';
import { createTensor, sizeOf, type Tensor } from '../tensor/tensor.js';
import type { NetworkSession, NetworkTensor } from './session.js';

/** An input of the graph, and what the call gives for it. */
export interface Part {
  readonly input: string;
  readonly name: string;
  readonly tensor: Tensor | undefined;
  /** Its shape without the batch; undefined or a symbol where any length will do. */
  readonly row: readonly (number | string | undefined)[];
}

/** Throws InvalidOptionError for a tensor that the graph does not take. */
export function assertRow({ name, tensor, row }: Part): void {
  if (tensor === undefined) return;
  const [batch = 0, ...lengths] = tensor.shape;
  const fits =
    batch >= 1 &&
    lengths.length === row.length &&
    row.every((length, index) => typeof length !== 'number' || (length >= 1 && length === lengths[index]));
  if (!fits || tensor.data.length !== sizeOf(tensor.shape)) {
    const rule = row.map((length) => length ?? 'any').join(', ');
    throw new InvalidOptionError(expected(`shape of ${name}`, `[B, ${rule}] with as many numbers`, [...tensor.shape]));
  }
}

/** Returns the batch of the largest tensors. Throws InvalidOptionError for one that is neither that nor 1. */
export function commonBatch(parts: readonly Part[]): number {
  const batches = parts.flatMap(({ name, tensor }) =>
    tensor === undefined ? [] : [{ name, batch: tensor.shape[0] ?? 0 }],
  );
  const batch = Math.max(...batches.map((part) => part.batch));
  for (const part of batches) {
    if (part.batch === 1 || part.batch === batch) continue;
    throw new InvalidOptionError(expected(`batch of ${part.name}`, `1 or ${batch}, as the largest is`, part.batch));
  }
  return batch;
}

/** Returns a copy of the rows, repeated to the batch; zeros when there is no tensor. */
export function repeated(tensor: Tensor | undefined, batch: number, row: readonly number[]): Tensor {
  if (tensor === undefined) return createTensor([batch, ...row]);
  const result = createTensor(tensor.shape.with(0, batch));
  for (let at = 0; at < result.data.length; at += tensor.data.length) result.data.set(tensor.data, at);
  return result;
}

/** Returns the tensor in the type that the graph's input has; integers must be whole. */
export function feed({ inputs }: NetworkSession, name: string, { data, shape }: Tensor): NetworkTensor {
  if (inputs.find((input) => input.name === name)?.type !== 'int64') return { type: 'float32', data, shape };
  const fraction = data.find((value) => !Number.isInteger(value));
  if (fraction !== undefined) {
    throw new InvalidOptionError(expected(name, 'whole numbers for this model', fraction));
  }
  return { type: 'int64', data: BigInt64Array.from(data, BigInt), shape };
}
