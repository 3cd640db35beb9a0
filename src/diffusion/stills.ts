// Single pictures as latents: the code of a first frame, and the code of a frame that stands still.

import { MediaError } from '../errors.js';
import type { Frame } from '../media/frame.js';
import { framesToPixels } from '../media/pixels.js';
import { readFrames } from '../media/read-frames.js';
import { frameStep } from '../networks/manifest.js';
import type { Model, Posterior } from '../networks/model.js';
import { axis, concat, lengthOf, slice, type Tensor } from '../tensor/tensor.js';
import { pixelFrames, type Size } from './geometry.js';
import type { RunContext } from './progress.js';
import { gather } from './source-windows.js';

// A causal VAE's code of a frame that stands still settles within its temporal receptive field.
const settlingLatentFrames = 4;

/** Returns the first frame of a file at that size. Throws MediaError when there is none. */
export async function readStill(path: string, size: Size, context: RunContext): Promise<Frame> {
  for await (const frame of readFrames(path, { ...size, fit: 'cover', maxFrames: 1, signal: context.signal })) {
    return frame;
  }
  throw new MediaError(`Expected at least one frame in ${path}, got none. Check that it is a video or an image.`);
}

/** Returns the latents [1, C, t, h, w] of a picture that stands still for `frames` latent frames, from a clip's start on. */
export async function encodeStill(model: Model, picture: Frame, frames: number, context: RunContext): Promise<Tensor> {
  // A VAE without time codes all of them alike.
  const settling = model.manifest.latent.temporalCompression === 1 ? 1 : settlingLatentFrames;
  const step = frameStep(model.manifest);
  const steps = Math.ceil((pixelFrames(model.manifest, Math.min(frames, settling)) - 1) / step);
  const { latents } = await encodeFrames(model, new Array<Frame>(steps * step + 1).fill(picture), context);
  const encoded = lengthOf(latents, axis.time);
  if (frames <= encoded) return slice(latents, axis.time, 0, frames);
  const settled = slice(latents, axis.time, encoded - 1, encoded);
  return concat([latents, ...Array.from({ length: frames - encoded }, () => settled)], axis.time);
}

/** Returns the latents [1, C, 1, h, w] that code a picture in the middle of a clip, after it has stood still. */
export async function encodeSettled(model: Model, picture: Frame, context: RunContext): Promise<Tensor> {
  const latents = await encodeStill(model, picture, settlingLatentFrames, context);
  return slice(latents, axis.time, lengthOf(latents, axis.time) - 1, lengthOf(latents, axis.time));
}

/** Returns what the VAE says of a few frames held in memory, as many as it takes. */
export async function encodeFrames(model: Model, frames: readonly Frame[], context: RunContext): Promise<Posterior> {
  async function* pixels() {
    yield framesToPixels(frames);
  }
  return encodePixels(model, pixels(), context);
}

/** Returns what the VAE says of pixels [1, 3, n, H, W] that come in pieces. */
export async function encodePixels(
  model: Model,
  pixels: AsyncIterable<Tensor>,
  context: RunContext,
): Promise<Posterior> {
  const encode = () => gather(model.encodePosterior(pixels, { signal: context.signal }));
  const whole = await (context.clock === undefined ? encode() : context.clock.time('encode', encode));
  // The VAE throws for no frames.
  return whole as Posterior;
}
