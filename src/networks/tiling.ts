// Cuts frames into overlapping tiles and joins what comes back by normalised overlap-add, one axis at a time.
import { axis, createTensor, type Tensor } from '../tensor/tensor.js';

/** A stretch of one axis that a tile covers. */
export interface Span {
  readonly start: number;
  readonly length: number;
}

/** A stretch of one axis with the share that its tile has in each position; shares of all tiles add up to 1. */
export interface WeightedSpan extends Span {
  readonly weights: Float64Array;
}

/**
 * Returns evenly spread spans of `side` that cover an axis and share at least `overlap` with their neighbours; one span
 * when the axis is no longer than `side`. `length`, `side` and `overlap` are multiples of `multiple`, and so are the spans.
 */
export function spansOf(length: number, side: number, overlap: number, multiple: number): Span[] {
  if (length <= side) return [{ start: 0, length }];
  const count = Math.ceil((length - overlap) / (side - overlap));
  const step = (length - side) / (count - 1);
  return Array.from({ length: count }, (_, index) => ({
    start: Math.round((index * step) / multiple) * multiple,
    length: side,
  }));
}

/**
 * Returns the spans with shares that rise and fall as a raised cosine over what neighbours share, divided by their sum.
 * A tile's share in a pixel is the product of its shares in row and column, so tiles that meet at a corner count too.
 */
export function weighSpans(spans: readonly Span[]): WeightedSpan[] {
  const raw = spans.map(({ start, length }, index) => {
    const before = spans[index - 1];
    const after = spans[index + 1];
    const rise = before === undefined ? 0 : before.start + before.length - start;
    const fall = after === undefined ? 0 : start + length - after.start;
    return Float64Array.from({ length }, (_, at) => ramp(at, rise) * ramp(length - 1 - at, fall));
  });
  const total = new Float64Array(spans.reduce((end, { start, length }) => Math.max(end, start + length), 0));
  for (const [index, { start }] of spans.entries()) {
    raw[index]?.forEach((weight, at) => {
      total[start + at] = (total[start + at] ?? 0) + weight;
    });
  }
  return spans.map((span, index) => ({
    ...span,
    weights: (raw[index] ?? new Float64Array()).map((weight, at) => weight / (total[span.start + at] ?? 1)),
  }));
}

/** Rises from 0 to 1 over `width` positions; never 0 at the centre of one. */
function ramp(position: number, width: number): number {
  return position >= width ? 1 : (1 - Math.cos((Math.PI * (position + 0.5)) / width)) / 2;
}

/** Returns spans in the units of a grid that is `factor` times as fine (or coarse, below 1). */
export function scaleSpans(spans: readonly Span[], factor: number): Span[] {
  return spans.map(({ start, length }) => ({ start: start * factor, length: length * factor }));
}

/** Returns a copy of the part of [1, C, n, H, W] that rows and columns span. */
export function cropTile(source: Tensor, rows: Span, columns: Span): Tensor {
  const width = source.shape[axis.width] ?? 0;
  const tile = createTensor(source.shape.with(axis.height, rows.length).with(axis.width, columns.length));
  const planes = tile.data.length / (rows.length * columns.length);
  const planeSize = (source.shape[axis.height] ?? 0) * width;
  let to = 0;
  for (let plane = 0; plane < planes; plane++) {
    for (let row = 0; row < rows.length; row++) {
      const from = plane * planeSize + (rows.start + row) * width + columns.start;
      tile.data.set(source.data.subarray(from, from + columns.length), to);
      to += columns.length;
    }
  }
  return tile;
}

/** Adds a tile to `target` [1, C, n, H, W], weighed by its shares in rows and columns. */
export function addTile(target: Tensor, tile: Tensor, rows: WeightedSpan, columns: WeightedSpan): void {
  const width = target.shape[axis.width] ?? 0;
  const planeSize = (target.shape[axis.height] ?? 0) * width;
  const planes = target.data.length / planeSize;
  let from = 0;
  for (let plane = 0; plane < planes; plane++) {
    for (let row = 0; row < rows.length; row++) {
      const share = rows.weights[row] ?? 0;
      const to = plane * planeSize + (rows.start + row) * width + columns.start;
      for (let column = 0; column < columns.length; column++, from++) {
        const at = to + column;
        target.data[at] =
          (target.data[at] as number) + share * (columns.weights[column] as number) * (tile.data[from] as number);
      }
    }
  }
}
