// Clips in tiles of time, against the sum over whole tiles that it stands for.
import assert from 'node:assert/strict';
import test from 'node:test';
import { TimeTiles } from '../../src/networks/time-tiles.js';
import { axis, concat, createTensor, lengthOf, slice, type Tensor } from '../../src/tensor/tensor.js';
import { assertClose, noiseClip } from './tiny-model.js';

/** Pixel frames a latent frame. */
const perLatent = 4;

/** A tile's frames as a decoder would make them, one of the first latent frame: each depends on all of the tile. */
function decodeTile(tile: Tensor): Tensor {
  const frames = lengthOf(tile, axis.time);
  const sum = tile.data.reduce((total, value) => total + value, 0);
  const result = createTensor([1, 2, (frames - 1) * perLatent + 1, 3, 2]);
  result.data.forEach((_, at) => {
    const frame = Math.floor(at / 6) % ((frames - 1) * perLatent + 1);
    result.data[at] = sum + at * (tile.data[Math.ceil(frame / perLatent)] as number);
  });
  return result;
}

/** All tiles made beforehand and laid over each other. */
function expected(clip: Tensor, latentFrames: number, step: number): Tensor {
  const frames = lengthOf(clip, axis.time);
  const made: Tensor[] = [];
  for (let start = 0; start === 0 || start + 1 < frames; start += step) {
    made.push(decodeTile(slice(clip, axis.time, start, Math.min(frames, start + latentFrames))));
  }
  const result = createTensor([1, 2, (frames - 1) * perLatent + 1, 3, 2]);
  const fade = (latentFrames - step - 1) * perLatent;
  const total = lengthOf(result, axis.time);
  for (const [index, tile] of made.entries()) {
    const ofTile = lengthOf(tile, axis.time);
    const shared = Math.min(fade, ofTile - 1);
    for (let frame = index === 0 ? 0 : 1; frame < ofTile; frame++) {
      const share = index === 0 || frame > shared ? 1 : (frame - 1) / shared;
      for (const channel of [0, 1]) {
        for (let at = 0; at < 6; at++) {
          const to = (channel * total + index * step * perLatent + frame) * 6 + at;
          const value = tile.data[(channel * ofTile + frame) * 6 + at] as number;
          result.data[to] = (1 - share) * (result.data[to] as number) + share * value;
        }
      }
    }
  }
  return result;
}

function inTiles(clip: Tensor, latentFrames: number, step: number): Tensor {
  const tiles = new TimeTiles({ input: step, output: step * perLatent });
  const frames = lengthOf(clip, axis.time);
  const pieces: Tensor[] = [];
  for (let start = 0; start < frames; ) {
    const end = Math.min(frames, start === 0 ? latentFrames : start + step);
    pieces.push(tiles.join([decodeTile(tiles.next(slice(clip, axis.time, start, end)))])[0] as Tensor);
    start = end;
  }
  for (let tile = tiles.rest(); tile !== undefined; tile = tiles.rest()) {
    pieces.push(tiles.join([decodeTile(tile)])[0] as Tensor);
  }
  return concat(pieces, axis.time);
}

for (const [latentFrames, step] of [
  [5, 3],
  [3, 1],
  [4, 3],
  [7, 3],
] as const) {
  test(`tiles of ${latentFrames} latent frames, ${step} after one another`, () => {
    for (let frames = 1; frames <= 3 * latentFrames; frames++) {
      const clip = noiseClip([1, 1, frames, 1, 1]);
      const wanted = expected(clip, latentFrames, step);
      const made = inTiles(clip, latentFrames, step);
      assert.deepEqual(made.shape, wanted.shape);
      assertClose(made, wanted, 1e-4);
    }
  });
}
