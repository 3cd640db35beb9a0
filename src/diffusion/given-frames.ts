// Frames that a clip is given, at its start and at its end, as what the model takes them for.
import type { Frame } from '../media/frame.js';
import { framesToPixels } from '../media/pixels.js';
import type { Model } from '../networks/model.js';
import type { TorchRandom } from '../tensor/random.js';
import { axis, concat, type Tensor } from '../tensor/tensor.js';
import { type Known, keepFrames, tell } from './conditions.js';
import { pixelFrames } from './geometry.js';
import { drawLatents } from './posterior.js';
import type { RunContext } from './progress.js';
import type { Begin } from './start.js';
import { encodeFrames, encodeSettled } from './stills.js';
import { tellClip } from './told-clip.js';

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
    const lastAt = pixelFrames(model.manifest, shape[axis.time] as number) - 1;
    const pictureAt = (at: number) => given.first[at] ?? (at === lastAt ? given.last : undefined);
    const frameAt = (at: number) => {
      const picture = pictureAt(at);
      return picture === undefined ? {} : { kept: framesToPixels([picture]) };
    };
    const start = await tellClip(model, shape, frameAt, context);
    return () => ({ ...start, imageEmbeds });
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
