// A source of unknown length, cut into windows while it comes.
import { axis, concat, lengthOf, slice, type Tensor } from '../tensor/tensor.js';
import type { Window } from './windows.js';

/** Some latents of a source clip. */
export interface SourcePiece {
  /** [1, C, n, h, w]. */
  readonly latents: Tensor;
  /** [1, 1, n, h, w], 1 where the source is kept; undefined where all may change. All pieces have one, or none has. */
  readonly keep?: Tensor | undefined;
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
  const keeps = pieces.flatMap(({ keep }) => (keep === undefined ? [] : [keep]));
  return {
    latents: concat(
      pieces.map(({ latents }) => latents),
      axis.time,
    ),
    keep: keeps.length === 0 ? undefined : concat(keeps, axis.time),
  };
}

function slicePiece({ latents, keep }: SourcePiece, start: number, end: number): SourcePiece {
  return {
    latents: slice(latents, axis.time, start, end),
    keep: keep === undefined ? undefined : slice(keep, axis.time, start, end),
  };
}
