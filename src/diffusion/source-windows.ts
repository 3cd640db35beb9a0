// A source of unknown length, cut into windows while it comes.
import type { Posterior } from '../networks/model.js';
import { axis, concat, lengthOf, slice, type Tensor } from '../tensor/tensor.js';
import type { Window } from './windows.js';

/** Some latents of a source clip, as the VAE gives them. Of what is optional, all pieces have it or none has. */
export interface SourcePiece extends Posterior {
  /** [1, 1, n, h, w], 1 where the source is kept; undefined where all may change. */
  readonly keep?: Tensor | undefined;
  /** The same clip, mid-grey where it is made anew, for denoisers that are shown it so. */
  readonly greyed?: Posterior | undefined;
}

/** Yields the windows that planWindows would, holding no more than a window and a piece; `build` makes of each window's
 * source what the window is to carry. */
export async function* sourceWindows<T>(
  source: AsyncIterable<SourcePiece>,
  length: number,
  overlap: number,
  build: (piece: SourcePiece) => T,
): AsyncGenerator<T & { window: Window }> {
  let held: SourcePiece | undefined;
  let heldStart = 0;
  let covered = 0;
  const cut = (start: number, end: number) => {
    covered = end;
    return { ...build(slicePiece(held as SourcePiece, start - heldStart, end - heldStart)), window: { start, end } };
  };
  for await (const piece of source) {
    held = held === undefined ? piece : joinPieces([held, piece]);
    for (;;) {
      const start = covered === 0 ? 0 : covered - overlap;
      const heldEnd = heldStart + lengthOf(held.latents, axis.time);
      if (heldEnd < start + length) break;
      yield cut(start, start + length);
      // The last window is moved back to full length, so up to a window before the end may be needed again.
      const keepFrom = Math.max(heldStart, covered - length);
      held = slicePiece(held, keepFrom - heldStart, lengthOf(held.latents, axis.time));
      heldStart = keepFrom;
    }
  }
  if (held === undefined) return;
  const end = heldStart + lengthOf(held.latents, axis.time);
  if (end > covered) yield cut(Math.max(0, end - length), end);
}

/** Returns all pieces as one, or undefined for none. */
export async function gather(source: AsyncIterable<SourcePiece>): Promise<SourcePiece | undefined> {
  const pieces: SourcePiece[] = [];
  for await (const piece of source) pieces.push(piece);
  return pieces.length === 0 ? undefined : joinPieces(pieces);
}

function joinPieces(pieces: readonly SourcePiece[]): SourcePiece {
  return mapTensors(pieces, (tensors) => concat(tensors, axis.time));
}

function slicePiece(piece: SourcePiece, start: number, end: number): SourcePiece {
  return mapTensors([piece], ([tensor]) => slice(tensor as Tensor, axis.time, start, end));
}

/** Returns a piece whose every tensor is made of those that the pieces have in its place. */
function mapTensors(pieces: readonly SourcePiece[], make: (tensors: Tensor[]) => Tensor): SourcePiece {
  const optional = (tensors: (Tensor | undefined)[]) => {
    const present = tensors.filter((tensor) => tensor !== undefined);
    return present.length === 0 ? undefined : make(present);
  };
  const posterior = (all: readonly Posterior[]) => ({
    latents: make(all.map(({ latents }) => latents)),
    deviation: optional(all.map(({ deviation }) => deviation)),
  });
  const greyed = pieces.flatMap((piece) => piece.greyed ?? []);
  return {
    ...posterior(pieces),
    keep: optional(pieces.map(({ keep }) => keep)),
    greyed: greyed.length === 0 ? undefined : posterior(greyed),
  };
}
