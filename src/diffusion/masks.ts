// Masks: which pixels are made anew, as frames, as latent positions, and as the weights of the final mix.
import { expected, InvalidOptionError, MediaError } from '../errors.js';
import { planFit } from '../media/fit.js';
import type { Frame } from '../media/frame.js';
import { isPicture, readClip } from '../media/frame-folder.js';
import type { Manifest } from '../networks/manifest.js';
import { axis, createTensor, lengthOf, type Tensor } from '../tensor/tensor.js';
import type { Size } from './geometry.js';

/** One byte a pixel, rows from top to bottom: 1 is made anew, 0 is kept. */
export type Mask = Uint8Array;

/** Brightness, 0 to 255, from which a pixel of a mask picture counts as white. */
const whiteFrom = 128;

/** Feathering of the mask's edge, in pixels, towards its inside. */
const featherRadius = 3;

/** How the source's frames are read, which masks go with. */
export interface MaskReading extends Size {
  readonly frameRate: number;
  /** Where a mask clip starts, too. */
  readonly startSeconds: number;
}

/** Yields one mask a frame without end: a box, a picture, or a clip or folder of frames whose last one is held. `spec` is `x,y,w,h` in pixels
 * of the source as displayed, or a file; white is made anew. Throws InvalidOptionError for a box outside the source and for a
 * clip that ends before the start, MediaError for a file that is neither clip nor picture. */
export async function* readMasks(
  spec: string,
  source: Size,
  { frameRate, startSeconds, ...size }: MaskReading,
  signal: AbortSignal | undefined,
): AsyncGenerator<Mask, never> {
  const box = parseBox(spec, source);
  let last = box === undefined ? undefined : boxMask(box, source, size);
  if (box === undefined) {
    const isStill = await isPicture(spec, signal);
    const part = isStill ? { maxFrames: 1 } : { startSeconds };
    const read = { width: size.width, height: size.height, fit: 'cover', frameRate, ...part, signal } as const;
    for await (const frame of readClip(spec, read)) {
      last = threshold(frame);
      if (!isStill) yield last;
    }
  }
  if (last === undefined) throw new MediaError(`Expected at least one frame in mask ${spec}, got none.`);
  for (;;) yield last;
}

/** Returns the masks of the next frames. */
export async function takeMasks(masks: AsyncGenerator<Mask, never>, count: number): Promise<Mask[]> {
  const taken: Mask[] = [];
  while (taken.length < count) taken.push((await masks.next()).value);
  return taken;
}

interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

function parseBox(spec: string, source: Size): Box | undefined {
  if (!/^\s*-?[\d.]+\s*(,\s*-?[\d.]+\s*){3}$/.test(spec)) return undefined;
  const [x = Number.NaN, y = Number.NaN, width = Number.NaN, height = Number.NaN] = spec.split(',').map(Number);
  const isInside =
    x >= 0 && y >= 0 && width >= 1 && height >= 1 && x + width <= source.width && y + height <= source.height;
  if (!isInside) {
    throw new InvalidOptionError(
      expected('mask', `x,y,w,h inside the source's ${source.width}x${source.height} pixels`, spec),
    );
  }
  return { x, y, width, height };
}

/** Draws the box as the source's frames are fitted: scaled to cover the size, the rest cropped evenly. */
function boxMask(box: Box, source: Size, size: Size): Mask {
  const { scaled } = planFit(source, size.width, size.height, 'cover');
  const toX = (x: number) => Math.round((x * scaled.width) / source.width - (scaled.width - size.width) / 2);
  const toY = (y: number) => Math.round((y * scaled.height) / source.height - (scaled.height - size.height) / 2);
  const mask = new Uint8Array(size.width * size.height);
  const left = Math.max(0, toX(box.x));
  const right = Math.min(size.width, toX(box.x + box.width));
  for (let y = Math.max(0, toY(box.y)); y < Math.min(size.height, toY(box.y + box.height)); y++) {
    if (left < right) mask.fill(1, y * size.width + left, y * size.width + right);
  }
  return mask;
}

function threshold({ width, height, data }: Frame): Mask {
  const mask = new Uint8Array(width * height);
  for (let i = 0; i < mask.length; i++) {
    const sum = (data[3 * i] as number) + (data[3 * i + 1] as number) + (data[3 * i + 2] as number);
    if (sum >= 3 * whiteFrom) mask[i] = 1;
  }
  return mask;
}

/** Returns which latent positions are kept, [1, 1, n, h, w]: those none of whose pixels is made anew.
 * `groups` holds the masks of the pixel frames behind each latent frame. */
export function keepMask(manifest: Manifest, groups: readonly (readonly Mask[])[], size: Size): Tensor {
  const { spatialCompression } = manifest.latent;
  const columns = size.width / spatialCompression;
  const rows = size.height / spatialCompression;
  const keep = createTensor([1, 1, groups.length, rows, columns]);
  keep.data.fill(1);
  for (const [frame, masks] of groups.entries()) {
    for (const mask of masks) {
      for (let y = 0; y < size.height; y++) {
        const row = (frame * rows + Math.floor(y / spatialCompression)) * columns;
        for (let x = 0; x < size.width; x++) {
          if (mask[y * size.width + x] === 1) keep.data[row + Math.floor(x / spatialCompression)] = 0;
        }
      }
    }
  }
  return keep;
}

/** Writes mid-grey into pixels [1, 3, n, H, W] wherever the frame's mask has that value. */
export function greyOut(pixels: Tensor, masks: readonly Mask[], value: 0 | 1 = 1): void {
  const plane = lengthOf(pixels, axis.height) * lengthOf(pixels, axis.width);
  for (let start = 0, row = 0; start < pixels.data.length; start += plane, row++) {
    const mask = masks[row % masks.length] as Mask;
    for (let at = 0; at < plane; at++) if (mask[at] === value) pixels.data[start + at] = 0;
  }
}

/** Pastes what was made into a source. The weights of the last mask are kept, as most clips have one mask for all frames. */
export class Compositor {
  #mask: Mask | undefined;
  #weights: Float32Array = new Float32Array();

  /** Returns the source's pixels outside the mask and the made ones inside, feathered towards the inside (new frame). */
  composite(source: Frame, made: Frame, mask: Mask): Frame {
    const { width, height } = source;
    if (mask !== this.#mask) this.#weights = featherWeights(mask, width, height);
    this.#mask = mask;
    const weights = this.#weights;
    const data = new Uint8Array(source.data.length);
    for (let i = 0; i < weights.length; i++) {
      const weight = weights[i] as number;
      for (let at = 3 * i; at < 3 * i + 3; at++) {
        const kept = source.data[at] as number;
        data[at] = Math.round(kept + weight * ((made.data[at] as number) - kept));
      }
    }
    return { width, height, data };
  }
}

/** Returns how much of what was made counts at each pixel, in 0 to 1. */
function featherWeights(mask: Mask, width: number, height: number): Float32Array {
  // Half of a straight edge's neighbourhood is inside: that is where the made pixels begin to count.
  return boxBlur(mask, width, height, featherRadius).map((inside, at) =>
    mask[at] === 1 ? Math.min(1, Math.max(0, 2 * inside - 1)) : 0,
  );
}

/** Returns each pixel's mean over a square of side 2 · radius + 1; beyond the frame counts as the nearest pixel. */
function boxBlur(mask: Mask, width: number, height: number, radius: number): Float32Array {
  const rows = new Float32Array(mask.length);
  const result = new Float32Array(mask.length);
  blurLines(mask, rows, height, width, width, 1, radius);
  blurLines(rows, result, width, height, 1, width, radius);
  return result;
}

function blurLines(
  from: Uint8Array | Float32Array,
  to: Float32Array,
  lines: number,
  length: number,
  lineStride: number,
  stride: number,
  radius: number,
): void {
  for (let line = 0; line < lines; line++) {
    const base = line * lineStride;
    const at = (i: number) => from[base + Math.min(length - 1, Math.max(0, i)) * stride] as number;
    let sum = 0;
    for (let i = -radius; i <= radius; i++) sum += at(i);
    for (let i = 0; i < length; i++) {
      to[base + i * stride] = sum / (2 * radius + 1);
      sum += at(i + radius + 1) - at(i - radius);
    }
  }
}
