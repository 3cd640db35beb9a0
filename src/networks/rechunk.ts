// Regroups frames that come in pieces of any length into chunks of one length, so that results never depend on the pieces.
import { axis, concat, createTensor, slice, type Tensor } from '../tensor/tensor.js';

/** How frames are regrouped. */
export interface ChunkRule {
  /** Returns frames a chunk, at least 1; Infinity for one chunk with all of them. Called once, with the first piece. */
  chunkFrames(piece: Tensor): number;
  /** Frames of the first chunk, where it has another length. */
  readonly firstFrames?: number | undefined;
  /** Copies of the first frame put in front of it; 0 for one chunk with all frames. */
  readonly leadingCopies: number;
  /** Throws when a piece [1, C, m, H, W] doesn't belong in this clip. */
  assertPiece(piece: Tensor, first: Tensor): void;
}

/** Yields chunks [1, C, n, H, W], all as long as the rule says but the last, which may be shorter; each is a new tensor. */
export async function* rechunk(pieces: AsyncIterable<Tensor>, rule: ChunkRule): AsyncGenerator<Tensor> {
  let first: Tensor | undefined;
  let chunkFrames = 0;
  let room = 0;
  const all: Tensor[] = [];
  let chunk: Tensor | undefined;
  let filled = 0;
  for await (const piece of pieces) {
    const isFirst = first === undefined;
    first ??= piece;
    rule.assertPiece(piece, first);
    const frames = piece.shape[axis.time] ?? 0;
    if (isFirst) {
      chunkFrames = rule.chunkFrames(piece);
      room = rule.firstFrames ?? chunkFrames;
    }
    if (room === Number.POSITIVE_INFINITY) {
      if (frames > 0) all.push(slice(piece, axis.time, 0, frames));
      else if (isFirst) first = undefined;
      continue;
    }
    // Negative positions stand for the copies of frame 0.
    let at = isFirst ? -rule.leadingCopies : 0;
    if (frames === 0) {
      if (isFirst) first = undefined;
      continue;
    }
    while (at < frames) {
      chunk ??= createTensor(piece.shape.with(axis.time, room));
      const count = at < 0 ? 1 : Math.min(frames - at, room - filled);
      copyFrames(piece, Math.max(at, 0), chunk, filled, count);
      at += count;
      filled += count;
      if (filled < room) continue;
      yield chunk;
      chunk = undefined;
      filled = 0;
      room = chunkFrames;
    }
  }
  if (all.length > 0) yield concat(all, axis.time);
  if (chunk !== undefined) yield slice(chunk, axis.time, 0, filled);
}

function copyFrames(from: Tensor, fromFrame: number, to: Tensor, toFrame: number, count: number): void {
  const [, channels = 0, fromFrames = 0, height = 0, width = 0] = from.shape;
  const toFrames = to.shape[axis.time] ?? 0;
  const area = height * width;
  for (let channel = 0; channel < channels; channel++) {
    const start = (channel * fromFrames + fromFrame) * area;
    to.data.set(from.data.subarray(start, start + count * area), (channel * toFrames + toFrame) * area);
  }
}
