// A clip as a denoiser is told of it: all its pixels coded, mid-grey where nothing is known, with masks of what is.
import type { Manifest } from '../networks/manifest.js';
import type { Model } from '../networks/model.js';
import { axis, concat, createTensor, type Tensor } from '../tensor/tensor.js';
import type { Told } from './conditions.js';
import { pixelFrames } from './geometry.js';
import type { RunContext } from './progress.js';
import type { Start } from './start.js';
import { encodePixels } from './stills.js';

/** A frame of a clip, in two parts; each is pixels [1, 3, 1, H, W], mid-grey outside of its part, or undefined for all grey. */
export interface ToldFrame {
  /** What stays. */
  readonly kept?: Tensor | undefined;
  /** What is made over, or says what is to be made. */
  readonly remade?: Tensor | undefined;
  /** 1 for each pixel that is made over, rows from top to bottom; undefined when all or none is. */
  readonly mask?: Uint8Array | undefined;
}

/** Returns what a clip with latents of `shape` [1, C, t, h, w] starts from; `frameAt` gives its pixel frames. */
export async function tellClip(
  model: Model,
  shape: readonly number[],
  frameAt: (at: number) => ToldFrame,
  context: RunContext,
): Promise<Start> {
  const { manifest } = model;
  const encode = async (part: 'kept' | 'remade') => {
    const pixels = clipPixels(manifest, shape, (at) => frameAt(at)[part]);
    return (await encodePixels(model, pixels, context)).latents;
  };
  const latents = await encode('kept');
  const told = { latents, ...toldMasks(manifest, shape, frameAt) };
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
    const group = pixelFramesOf(latent, frame).map((at) => pixelsAt(at) ?? grey);
    yield concat(group, axis.time);
  }
}

/** Returns the numbers of the pixel frames that a latent frame stands for. */
function pixelFramesOf({ temporalCompression }: Manifest['latent'], frame: number): number[] {
  if (frame === 0) return [0];
  return Array.from({ length: temporalCompression }, (_, index) => (frame - 1) * temporalCompression + 1 + index);
}

function toldMasks(
  { latent, graphs }: Manifest,
  shape: readonly number[],
  frameAt: (at: number) => ToldFrame,
): Omit<Told, 'latents'> {
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
  }
  return { frames: whole, pixels };
}

/** Returns the pixel frame that lies nearest to a latent frame's place, as PyTorch's "nearest-exact" interpolation picks it. */
function nearestFrame(latentFrame: number, latentFrames: number, numFrames: number): number {
  const scale = Math.fround(numFrames / latentFrames);
  return Math.min(Math.floor(Math.fround((latentFrame + 0.5) * scale)), numFrames - 1);
}
