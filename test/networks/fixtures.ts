// The tiny graphs of models/goldens/networks/make_networks.py, and tensors to feed them.
import { fileURLToPath } from 'node:url';
import type { NetworkTensor } from '../../src/networks/session.js';

/** Returns the path of a file of test/fixtures/networks, from the compiled tests in dist/test/networks. */
export function fixture(name: string): string {
  return fileURLToPath(new URL(`../../../test/fixtures/networks/${name}`, import.meta.url));
}

export function floats(shape: readonly number[], data: Iterable<number>): NetworkTensor {
  return { type: 'float32', shape, data: Float32Array.from(data) };
}

export function ints(shape: readonly number[], data: readonly number[]): NetworkTensor {
  return { type: 'int64', shape, data: BigInt64Array.from(data, BigInt) };
}

/** Feeds that keep `slow.onnx` busy: each turn is one n x n matrix product and a softmax. */
export function slowFeeds(n: number, turns: number): Record<string, NetworkTensor> {
  return { x: floats([n, n], new Float32Array(n * n)), turns: ints([], [turns]) };
}

/** The numbers 1, 2, 3, ... */
export function counting(length: number): Float32Array {
  return Float32Array.from({ length }, (_, index) => index + 1);
}

const causalFrames = 7;
const [height, width] = [2, 2];
const frame = height * width;

/** Value of the clip that `causal.onnx` is given. */
const clipAt = (channel: number, time: number, position: number): number =>
  time < 0 ? 0 : channel * 100 + time * 10 + position;

function causalTensor(frames: readonly number[], at: (channel: number, time: number, position: number) => number) {
  const data: number[] = [];
  for (const channel of [0, 1]) {
    for (const time of frames)
      for (let position = 0; position < frame; position++) data.push(at(channel, time, position));
  }
  return floats([1, 2, frames.length, height, width], data);
}

const range = (start: number, length: number): number[] => Array.from({ length }, (_, index) => start + index);
const piece = (start: number, length: number) => causalTensor(range(start, length), clipAt);

/** A clip for `causal.onnx`, whole and in pieces, and the shapes of its states. */
export const causalShapes = {
  whole: piece(0, causalFrames),
  piece,
  states: [
    [1, 2, 2, height, width],
    [1, 2, 1, height, width],
  ],
};

/** What `causal.onnx` answers for frames [start, start + length), given all that went before. */
export function causalAnswer(start: number, length: number): Record<string, NetworkTensor> {
  return {
    y: causalTensor(
      range(start, length),
      (channel, time, position) =>
        clipAt(channel, time, position) +
        2 * clipAt(channel, time - 1, position) +
        4 * clipAt(channel, time - 2, position),
    ),
    total: causalTensor([0], (channel, _, position) =>
      range(0, start + length).reduce((sum, time) => sum + clipAt(channel, time, position), 0),
    ),
  };
}
