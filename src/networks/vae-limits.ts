// How much of a clip goes through the VAE at a time: latent frames a call, and tiles when a frame is too large.
import os from 'node:os';
import { expected, InvalidOptionError } from '../errors.js';
import type { Manifest, StreamingGraph } from './manifest.js';

/** How a frame is cut into tiles; one tile when `side` reaches over the whole frame. All in pixels. */
export interface TileLayout {
  readonly height: number;
  readonly width: number;
  readonly side: number;
  /** What neighbours share at least. */
  readonly overlap: number;
  /** Everything is a multiple of this. */
  readonly multiple: number;
}

/** Pixels of the clip that one call works on: larger calls gain little speed and hold more memory (docs/decisions.md). */
const pixelsPerCall = 2 ** 20;

/** Latent frames that wait on neither side for too long: the reader's first frame, and the writer's next. */
const mostLatentFrames = 8;

/** Returns how many latent frames one call takes. Depends on nothing but the frame's size, so that results do not either. */
export function latentFramesPerCall({ latent }: Manifest, height: number, width: number): number {
  const frames = Math.floor(pixelsPerCall / (height * width * latent.temporalCompression));
  return Math.min(Math.max(frames, 1), mostLatentFrames);
}

/** Share of the machine's memory that whole frames may take; the rest is for weights, frames in flight and ffmpeg. */
const memoryShare = 0.5;

/** Feature maps of a graph that are alive at once, in multiples of its widest state. Measured: docs/decisions.md. */
const liveMaps = 8;

const bytesPerNumber = 4;

/** Sides that are tried, largest first, when a whole frame is too large. */
const tileSides = [1024, 768, 512, 384, 256] as const;

/** Share of a tile's side that neighbours share, and the least of it in pixels (docs/decisions.md has the seams measured). */
const overlapShare = 0.25;

/** Returns how frames of that size are cut. Throws InvalidOptionError for a tile size that the model can't take. */
export function tileLayout(
  manifest: Manifest,
  graph: StreamingGraph,
  height: number,
  width: number,
  tileSize: number | 'auto',
): TileLayout {
  const multiple = manifest.latent.sizeMultiple;
  const least = 4 * multiple;
  if (tileSize !== 'auto' && (!Number.isInteger(tileSize) || tileSize < least || tileSize % multiple !== 0)) {
    throw new InvalidOptionError(
      expected('tile size', `a multiple of ${multiple} and at least ${least}, or 'auto'`, tileSize),
    );
  }
  const side = tileSize === 'auto' ? fittingSide(manifest, graph, height, width) : tileSize;
  return { height, width, side, overlap: Math.ceil((side * overlapShare) / multiple) * multiple, multiple };
}

function fittingSide(manifest: Manifest, graph: StreamingGraph, height: number, width: number): number {
  // Not what is free: that changes from run to run, and the result would change with it in the last digits.
  const budget = memoryShare * Math.min(os.totalmem(), process.constrainedMemory() ?? Number.POSITIVE_INFINITY);
  if (callBytes(manifest, graph, height, width) <= budget) return Math.max(height, width);
  const multiple = manifest.latent.sizeMultiple;
  const sides = tileSides.map((side) => Math.ceil(side / multiple) * multiple);
  return sides.find((side) => callBytes(manifest, graph, side, side) <= budget) ?? Math.min(...sides);
}

/** Returns an upper estimate of what one call needs beside the weights, in bytes. */
export function callBytes({ latent }: Manifest, { states }: StreamingGraph, height: number, width: number): number {
  let stateNumbers = 0;
  let widestMap = 3 * latent.temporalCompression;
  for (const { channels, frames, spatialDivisor } of states) {
    const perPixel = channels / spatialDivisor ** 2;
    // Kept, and for a moment both the old and the new one.
    stateNumbers += 2 * frames * perPixel;
    widestMap = Math.max(widestMap, perPixel);
  }
  return bytesPerNumber * height * width * (stateNumbers + liveMaps * widestMap);
}
