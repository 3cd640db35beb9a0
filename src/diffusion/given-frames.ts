// Frames that a clip is given, at its start and at its end, as what the model takes them for.
import type { Frame } from '../media/frame.js';
import { framesToPixels } from '../media/pixels.js';
import type { Manifest } from '../networks/manifest.js';
import type { Model } from '../networks/model.js';
import type { TorchRandom } from '../tensor/random.js';
import { axis, concat, createTensor, filled, type Tensor, writeSlice } from '../tensor/tensor.js';
import { type Known, keepFrames, tell } from './conditions.js';
import { pixelFrames } from './geometry.js';
import { drawLatents } from './posterior.js';
import type { RunContext } from './progress.js';
import type { Begin } from './start.js';
import { encodeFrames, encodePixels, encodeSettled } from './stills.js';

/** Frames of a clip that is still to be made. */
export interface GivenFrames {
  /** The clip's first frames, one more than a multiple of temporalCompression. */
  readonly first: readonly Frame[];
  /** Its last frame. */
  readonly last?: Frame | undefined;
}

/** Returns how a clip of `shape` [1, C, t, h, w] starts when those frames of it are given. */
export async function startFromFrames(
  model: Model,
  given: GivenFrames,
  shape: readonly number[],
  context: RunContext,
): Promise<Begin> {
  const { denoiser, imageEncoder } = model.manifest.graphs;
  const imageEmbeds = imageEncoder === undefined ? undefined : await embedFrames(model, given, context);
  if (denoiser.conditionFrom === 'pixels') {
    const { latents } = await encodePixels(model, clipPixels(model.manifest, given, shape), context);
    return () => ({ told: { latents, frames: givenMask(model.manifest, given, shape) }, imageEmbeds });
  }
  const draw = await encodeGiven(model, given, shape, context);
  return (random) => {
    const known = draw(random);
    if (denoiser.knownFrames !== 'told') return { known, imageEmbeds };
    return { told: tell(model.manifest, known.latents, known.mask), imageEmbeds };
  };
}

/** Returns what the image encoder makes of the first picture and, where it is given, of the last. */
async function embedFrames(model: Model, { first, last }: GivenFrames, context: RunContext): Promise<Tensor> {
  const pictures = [...first.slice(0, 1), ...(last === undefined ? [] : [last])].map((frame) => {
    const { data, shape } = framesToPixels([frame]);
    return { data, shape: shape.toSpliced(axis.time, 1) };
  });
  const work = () => model.encodeImages(concat(pictures, axis.batch), { signal: context.signal });
  return context.clock === undefined ? work() : context.clock.time('encode', work);
}

/** Returns what draws latents that are known where frames are given, each encoded without the unknown ones. */
async function encodeGiven(
  model: Model,
  { first, last }: GivenFrames,
  shape: readonly number[],
  context: RunContext,
): Promise<(random: TorchRandom) => Known> {
  const start = await encodeFrames(model, first, context);
  const end = last === undefined ? undefined : await encodeSettled(model, last, context);
  return (random) => {
    const known = keepFrames(undefined, shape, drawLatents(model.manifest, start, random), 0);
    return end === undefined ? known : keepFrames(known, shape, end, (shape[axis.time] as number) - 1);
  };
}

/** Yields the clip, mid-grey where nothing is given, a latent frame's pixels at a time. */
async function* clipPixels(
  { latent }: Manifest,
  { first, last }: GivenFrames,
  shape: readonly number[],
): AsyncGenerator<Tensor> {
  const grey = framesToPixels(first.slice(0, 1));
  grey.data.fill(0);
  const frames = shape[axis.time] as number;
  for (let frame = 0; frame < frames; frame++) {
    const length = frame === 0 ? 1 : latent.temporalCompression;
    const start = frame === 0 ? 0 : (frame - 1) * latent.temporalCompression + 1;
    const group = Array.from({ length }, (_, index) => {
      const isLast = frame === frames - 1 && index === length - 1;
      const picture = first[start + index] ?? (isLast ? last : undefined);
      return picture === undefined ? grey : framesToPixels([picture]);
    });
    yield concat(group, axis.time);
  }
}

/** Returns which pixel frames are given, [1, temporalCompression, t, h, w]; the first latent frame's are all the first frame. */
function givenMask(manifest: Manifest, { first, last }: GivenFrames, shape: readonly number[]): Tensor {
  const { temporalCompression } = manifest.latent;
  const frames = shape[axis.time] as number;
  const total = pixelFrames(manifest, frames);
  const one = filled(shape.with(axis.channels, 1).with(axis.time, 1), 1);
  const channels = Array.from({ length: temporalCompression }, (_, channel) => {
    const mask = createTensor(shape.with(axis.channels, 1));
    for (let frame = 0; frame < frames; frame++) {
      const at = frame === 0 ? 0 : (frame - 1) * temporalCompression + 1 + channel;
      if (at < first.length || (last !== undefined && at === total - 1)) writeSlice(mask, axis.time, frame, one);
    }
    return mask;
  });
  return concat(channels, axis.channels);
}
