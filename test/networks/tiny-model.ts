// The tiny bundle and its goldens, and clips in pieces, for the tests of models.
import assert from 'node:assert/strict';
import { join as joinPath } from 'node:path';
import { fileURLToPath } from 'node:url';
import { loadModel } from '../../src/networks/load-model.js';
import type { Model } from '../../src/networks/model.js';
import { readGraphOutline } from '../../src/networks/onnx-file.js';
import { readTensor, writeSafetensors } from '../../src/tensor/safetensors.js';
import { axis, concat, createTensor, sizeOf, slice, type Tensor } from '../../src/tensor/tensor.js';

const fixtures = new URL('../../../test/fixtures/', import.meta.url);
export const tinyBundlePath = fileURLToPath(new URL('tiny-bundle', fixtures));
export const goldensPath = fileURLToPath(new URL('tiny-bundle-goldens.safetensors', fixtures));

export const golden = (name: string): Promise<Tensor> => readTensor(goldensPath, name);

/** Runs the test body with a model that is closed afterwards. */
export async function withTinyModel(body: (model: Model) => Promise<void>): Promise<void> {
  const model = await loadModel(tinyBundlePath, { device: 'cpu', threads: 1 });
  try {
    await body(model);
  } finally {
    await model.close();
  }
}

/** Writes a LoRA that changes one matrix of the tiny bundle's denoiser. */
export async function writeTinyLora(path: string): Promise<void> {
  const { weights } = readGraphOutline(joinPath(tinyBundlePath, 'transformer/model.onnx'));
  const matrix = weights.find(({ name, shape }) => name.endsWith('.weight') && shape.length === 2);
  assert.ok(matrix !== undefined);
  const [rows = 0, columns = 0] = matrix.shape;
  const module = `lora_unet_${matrix.name.replace(/\.weight$/, '').replaceAll('.', '_')}`;
  const filled = (shape: readonly number[]) => createTensor(shape, new Float32Array(sizeOf(shape)).fill(0.1));
  await writeSafetensors(path, {
    [`${module}.lora_down.weight`]: filled([2, columns]),
    [`${module}.lora_up.weight`]: filled([rows, 2]),
    [`${module}.alpha`]: { shape: [], data: Float32Array.of(20) },
  });
}

/** Yields a clip in pieces of those lengths; the last length is repeated until the clip has ended. */
export async function* inPieces(clip: Tensor, lengths: readonly number[]): AsyncGenerator<Tensor> {
  const frames = clip.shape[axis.time] ?? 0;
  for (let at = 0, piece = 0; at < frames; piece++) {
    const end = Math.min(frames, at + (lengths[piece] ?? lengths.at(-1) ?? frames));
    yield slice(clip, axis.time, at, end);
    at = end;
  }
}

/** Returns all pieces joined in time. */
export async function join(pieces: AsyncIterable<Tensor>): Promise<Tensor> {
  return concat(await collect(pieces), axis.time);
}

/** Returns all values. */
export async function collect<T>(values: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const value of values) all.push(value);
  return all;
}

/** Returns the largest difference of two tensors of one shape. */
export function largestDifference(actual: Tensor, wanted: Tensor): number {
  assert.deepEqual(actual.shape, wanted.shape);
  return actual.data.reduce((most, value, at) => Math.max(most, Math.abs(value - (wanted.data[at] ?? Number.NaN))), 0);
}

export function assertClose(actual: Tensor, wanted: Tensor, tolerance: number): void {
  const difference = largestDifference(actual, wanted);
  assert.ok(difference <= tolerance, `differs by ${difference}, more than ${tolerance}`);
}

/** Returns [1, channels, frames, height, width] of numbers in [-1, 1] that no two positions share. */
export function noiseClip(shape: readonly number[]): Tensor {
  const size = shape.reduce((product, length) => product * length, 1);
  return { shape, data: Float32Array.from({ length: size }, (_, at) => Math.sin(at * 12.9898 + (at % 7) * 78.233)) };
}
