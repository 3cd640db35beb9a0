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

/**
 * Pixels of the clip in one call, and latent frames at most: four latent frames of 256x256. With reel-tiny's decoder one
 * latent frame a call costs 45 ms of one core at 128x128, four cost 33 ms each, sixteen 31 ms (at 256x256 173, 142 for
 * four), while memory grows with each; and whoever takes the frames waits for a whole call.
 */
const pixelsPerCall = 2 ** 20;
const mostLatentFrames = 4;

/** Returns how many latent frames one call takes. Depends on model and frame size alone, so that results do not either.
 * Infinity for a graph that takes whole clips; after the first tile, where it takes them in tiles, what the next one begins later. */
export function latentFramesPerCall(
  { latent }: Manifest,
  { latentFrames, whole, tiles }: StreamingGraph,
  height: number,
  width: number,
): number {
  if (tiles !== undefined) return tiles.step;
  if (whole === true) return Number.POSITIVE_INFINITY;
  if (latentFrames !== undefined) return latentFrames;
  const frames = Math.floor(pixelsPerCall / (height * width * latent.temporalCompression));
  return Math.min(Math.max(frames, 1), mostLatentFrames);
}

/**
 * Numbers that a graph holds for each pixel of a frame while it works, beside its states, in multiples of its widest
 * level (the pixels of a latent frame, or a state). With reel-tiny's decoder 27 were measured at 512x512.
 */
const liveLevels = 28;

const bytesPerNumber = 4;

/** Returns an estimate of the bytes that the states of a whole frame take. */
export function stateBytes({ states }: StreamingGraph, height: number, width: number): number {
  const numbers = states.map(({ channels, frames, spatialDivisor }) => (channels * frames) / spatialDivisor ** 2);
  return bytesPerNumber * height * width * numbers.reduce((total, perPixel) => total + perPixel, 0);
}

/** Tables of all pairs of places that attention holds at once: their products, and what each counts. Measured with an
 * AutoencoderKL of diffusers: 2.1 at 512x512 and at 640x640. */
const attentionTables = 2;

/** Returns an estimate of the bytes that one call for one latent frame takes beside states and weights. */
export function workBytes(
  { latent }: Manifest,
  { states, work }: StreamingGraph,
  height: number,
  width: number,
): number {
  if (work !== undefined) {
    const { numbersPerPixel, attentionDivisor = Number.POSITIVE_INFINITY } = work;
    const places = (height * width) / attentionDivisor ** 2;
    // What attends comes before or after what is widest.
    return bytesPerNumber * Math.max(height * width * numbersPerPixel, attentionTables * places ** 2);
  }
  const levels = states.map(({ channels, spatialDivisor }) => channels / spatialDivisor ** 2);
  return bytesPerNumber * height * width * liveLevels * Math.max(3 * latent.temporalCompression, ...levels);
}

/**
 * Sides that are tried, largest first, when a whole frame is too large. Joining a tile holds the event loop: for 25 ms at
 * 768 pixels and four frames.
 */
const tileSides = [768, 512, 384, 256] as const;

/**
 * Returns the side of the largest tile for which states and work fit into `budgetBytes`: the longer side of the frame
 * when it fits whole. States are kept for the whole frame either way, twice of what is being worked on. `latentFrames` are
 * those of a clip that is worked on as a whole.
 */
export function fittingSide(
  manifest: Manifest,
  graph: StreamingGraph,
  { height, width }: { readonly height: number; readonly width: number },
  budgetBytes: number,
  latentFrames = 1,
): number {
  const needed = (tileHeight: number, tileWidth: number) =>
    stateBytes(graph, height, width) +
    stateBytes(graph, tileHeight, tileWidth) +
    latentFrames * workBytes(manifest, graph, tileHeight, tileWidth);
  if (needed(height, width) <= budgetBytes) return Math.max(height, width);
  const { sizeMultiple } = manifest.latent;
  const sides = tileSides.map((side) => Math.ceil(side / sizeMultiple) * sizeMultiple);
  return sides.find((side) => needed(side, side) <= budgetBytes) ?? Math.min(...sides);
}

/** Share of the machine's memory that one call may take; the rest is for weights, frames in flight and ffmpeg. */
const memoryShare = 0.5;

/** Not of what is free: that changes from run to run, and a clip would change with it in its last digits. */
function memoryBudget(): number {
  const limit = process.constrainedMemory();
  return memoryShare * (limit > 0 ? Math.min(limit, os.totalmem()) : os.totalmem());
}

/**
 * Share of a tile's side that neighbours share. With reel-tiny and a real clip of 384x384 tiled and whole frames then differ
 * by 0.0009 at most in tiles of 256 (of the range -1 to 1; one grey level is 0.0078), by 0.0023 in tiles of 192, 0.0094 in
 * tiles of 128 and 0.024 in tiles of 96; latents by 0.0011, 0.0029, 0.013 and 0.028.
 */
const overlapShare = 0.25;

/** Returns how frames of that size are cut, in a clip of so many latent frames. Throws InvalidOptionError for a tile size that
 * the model can't take. */
export function tileLayout(
  manifest: Manifest,
  graph: StreamingGraph,
  height: number,
  width: number,
  tileSize: number | 'auto',
  latentFrames = 1,
): TileLayout {
  const multiple = manifest.latent.sizeMultiple;
  const least = 4 * multiple;
  if (tileSize !== 'auto' && (!Number.isInteger(tileSize) || tileSize < least || tileSize % multiple !== 0)) {
    throw new InvalidOptionError(
      expected('tile size', `a multiple of ${multiple} and at least ${least}, or 'auto'`, tileSize),
    );
  }
  const framesAtOnce = graph.whole === true ? (graph.tiles?.latentFrames ?? latentFrames) : 1;
  const side =
    tileSize === 'auto' ? fittingSide(manifest, graph, { height, width }, memoryBudget(), framesAtOnce) : tileSize;
  return { height, width, side, overlap: Math.ceil((side * overlapShare) / multiple) * multiple, multiple };
}
