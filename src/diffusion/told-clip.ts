// A clip as a denoiser is told of it: all its pixels coded, mid-grey where nothing is known, with masks of what is.
import { setImmediate } from 'node:timers/promises';
import type { Frame } from '../media/frame.js';
import { framesToPixels } from '../media/pixels.js';
import type { Manifest } from '../networks/manifest.js';
import type { Model } from '../networks/model.js';
import { axis, concat, createTensor, type Tensor } from '../tensor/tensor.js';
import type { Told } from './conditions.js';
import { pixelFrames } from './geometry.js';
import { greyOut, type Mask } from './masks.js';
import type { RunContext } from './progress.js';
import type { Start } from './start.js';
import { encodePixels } from './stills.js';

/** A frame of a clip, of which two parts are told, each with mid-grey around it; a part that is undefined is all grey. */
export interface ToldFrame {
  /** What stays: the frame where the mask is 0. */
  readonly kept?: Frame | undefined;
  /** What is made over, the frame where the mask is 1, or what says what is to be made. */
  readonly remade?: Frame | undefined;
  /** Which pixels are made over; undefined when all or none is. */
  readonly mask?: Mask | undefined;
}

/** Returns what a clip with latents of `shape` [1, C, t, h, w] starts from; `frameAt` gives its pixel frames, and is called
 * several times for each. */
export async function tellClip(
  model: Model,
  shape: readonly number[],
  frameAt: (at: number) => ToldFrame,
  context: RunContext,
): Promise<Start> {
  const { manifest } = model;
  const encode = async (part: 'kept' | 'remade') => {
    const pixels = clipPixels(manifest, shape, (at) => partPixels(frameAt(at), part));
    return (await encodePixels(model, pixels, context)).latents;
  };
  const latents = await encode('kept');
  const told = { latents, ...(await toldMasks(manifest, shape, frameAt)) };
  if (manifest.graphs.denoiser.controls === undefined) return { told };
  const places = Array.from({ length: pixelFrames(manifest, shape[axis.time] as number) }, (_, at) => at);
  const isGrey = places.every((at) => frameAt(at).kept === undefined && frameAt(at).remade === undefined);
  return { told, controlLatents: isGrey ? latents : await encode('remade') };
}

/** Yields a clip's pixels, those of a latent frame at a time. */
async function* clipPixels(
  { latent }: Manifest,
  shape: readonly number[],
  pixelsAt: (at: number) => Tensor | undefined,
): AsyncGenerator<Tensor> {
  const [height, width] = shape.slice(axis.height).map((length) => length * latent.spatialCompression);
  const grey = createTensor([1, 3, 1, height as number, width as number]);
  for (let frame = 0; frame < (shape[axis.time] as number); frame++) {
    const group: Tensor[] = [];
    for (const at of pixelFramesOf(latent, frame)) {
      group.push(pixelsAt(at) ?? grey);
      // Else a long clip would hold the event loop for as long as all of its frames take.
      await setImmediate();
    }
    yield concat(group, axis.time);
  }
}

/** Returns pixels [1, 3, 1, H, W] of a part of a frame, or undefined when it is all grey. */
function partPixels(told: ToldFrame, part: 'kept' | 'remade'): Tensor | undefined {
  const frame = told[part];
  if (frame === undefined) return undefined;
  const pixels = framesToPixels([frame]);
  if (told.mask !== undefined) greyOut(pixels, [told.mask], part === 'kept' ? 1 : 0);
  return pixels;
}

/** Returns the numbers of the pixel frames that a latent frame stands for. */
function pixelFramesOf({ temporalCompression }: Manifest['latent'], frame: number): number[] {
  if (frame === 0) return [0];
  return Array.from({ length: temporalCompression }, (_, index) => (frame - 1) * temporalCompression + 1 + index);
}

/** Returns the masks of what is kept, worked out a latent frame at a time; the event loop turns in between. */
async function toldMasks(
  { latent, graphs }: Manifest,
  shape: readonly number[],
  frameAt: (at: number) => ToldFrame,
): Promise<Omit<Told, 'latents'>> {
  const { temporalCompression, spatialCompression } = latent;
  const [frames = 0, height = 0, width = 0] = shape.slice(axis.time);
  const area = height * width;
  const whole = createTensor(shape.with(axis.channels, temporalCompression));
  for (let frame = 0; frame < frames; frame++) {
    const places = pixelFramesOf(latent, frame);
    for (let channel = 0; channel < temporalCompression; channel++) {
      const { kept, mask } = frameAt(places[channel] ?? (places[0] as number));
      if (kept === undefined || mask !== undefined) continue;
      const start = (channel * frames + frame) * area;
      whole.data.fill(1, start, start + area);
    }
  }
  if (graphs.denoiser.conditionMask?.includes('keep-pixels') !== true) return { frames: whole };
  const pixels = createTensor(shape.with(axis.channels, spatialCompression ** 2));
  for (let frame = 0; frame < frames; frame++) {
    const { kept, mask } = frameAt(nearestFrame(frame, frames, (frames - 1) * temporalCompression + 1));
    if (kept === undefined) continue;
    for (let channel = 0; channel < spatialCompression ** 2; channel++) {
      const start = (channel * frames + frame) * area;
      for (let at = 0; at < area; at++) {
        const y = Math.floor(at / width) * spatialCompression + Math.floor(channel / spatialCompression);
        const x = (at % width) * spatialCompression + (channel % spatialCompression);
        pixels.data[start + at] = mask?.[y * width * spatialCompression + x] === 1 ? 0 : 1;
      }
    }
    await setImmediate();
  }
  return { frames: whole, pixels };
}

/** Returns the pixel frame that lies nearest to a latent frame's place, as PyTorch's "nearest-exact" interpolation picks it. */
function nearestFrame(latentFrame: number, latentFrames: number, numFrames: number): number {
  const scale = Math.fround(numFrames / latentFrames);
  return Math.min(Math.floor(Math.fround((latentFrame + 0.5) * scale)), numFrames - 1);
}
