// Frames that a clip is given, at its start and at its end, as what the model takes them for.
import type { Frame } from '../media/frame.js';
import { framesToPixels } from '../media/pixels.js';
import { type Manifest, readsPictures } from '../networks/manifest.js';
import type { Model, Posterior } from '../networks/model.js';
import { combine } from '../tensor/math.js';
import type { TorchRandom } from '../tensor/random.js';
import { axis, concat, filled, lengthOf, slice, type Tensor } from '../tensor/tensor.js';
import { type Known, keepFrames, tell } from './conditions.js';
import { pixelFrames } from './geometry.js';
import { drawLatents, sourceNoise } from './posterior.js';
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
  /** Frames in between, by their number. */
  readonly between?: ReadonlyMap<number, Frame> | undefined;
  /** How closely they are kept, in 0 to 1, by models that can tell. Default 1. */
  readonly strength?: number | undefined;
}

/** Returns how a clip of `shape` [1, C, t, h, w] starts when those frames of it are given. */
export async function startFromFrames(
  model: Model,
  given: GivenFrames,
  shape: readonly number[],
  context: RunContext,
): Promise<Begin> {
  const { denoiser } = model.manifest.graphs;
  const imageEmbeds = denoiser.inputs.includes('image_embeds') ? await embedFrames(model, given, context) : undefined;
  if (denoiser.conditionFrom === 'pixels') {
    const lastAt = pixelFrames(model.manifest, shape[axis.time] as number) - 1;
    const frameAt = (at: number) => ({
      kept: given.first[at] ?? given.between?.get(at) ?? (at === lastAt ? given.last : undefined),
    });
    const start = await tellClip(model, shape, frameAt, context);
    return () => ({ ...start, imageEmbeds });
  }
  if (denoiser.knownFrames === 'held') return holdGiven(model, given, shape, context);
  const draw = await encodeGiven(model, given, shape, context);
  return (random) => {
    const known = draw(random);
    const noise = sharedNoise(model.manifest, known.latents, random);
    if (denoiser.knownFrames !== 'told') return { known, imageEmbeds, noise };
    return { told: tell(model.manifest, known.latents, known.mask), imageEmbeds, noise };
  };
}

/** Returns what prompts are read with of the picture that a clip starts from, where the model reads them so. */
export async function embedForPrompts(model: Model, picture: Frame, context: RunContext): Promise<Tensor | undefined> {
  return readsPictures(model.manifest) ? embedFrames(model, { first: [picture] }, context) : undefined;
}

/** Returns noise of which the first known latent frame has its share, where the model starts from such. */
function sharedNoise(manifest: Manifest, known: Tensor, random: TorchRandom): Tensor | undefined {
  const { knownShare } = manifest.graphs.denoiser;
  if (knownShare === undefined) return undefined;
  const first = slice(known, axis.time, 0, 1);
  const everywhere = concat(new Array<Tensor>(lengthOf(known, axis.time)).fill(first), axis.time);
  return combine(1 - knownShare, sourceNoise(manifest, known.shape, random), knownShare, everywhere);
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

/** Returns what draws a clip's noise and then what is given: the first frames as its own, each other one as a frame beside it. */
async function holdGiven(
  model: Model,
  { first, last, between = new Map<number, Frame>(), strength = 1 }: GivenFrames,
  shape: readonly number[],
  context: RunContext,
): Promise<Begin> {
  const { manifest } = model;
  const start = await encodeFrames(model, first, context);
  const later = [...between].sort(([one], [other]) => one - other);
  if (last !== undefined) later.push([pixelFrames(manifest, shape[axis.time] as number) - 1, last]);
  const coded: Posterior[] = [];
  for (const [, frame] of later) coded.push(await encodeFrames(model, [frame], context));
  return (random) => {
    const noise = random.normal(shape);
    const known = keepFrames(undefined, shape, drawLatents(manifest, start, random), 0, strength);
    // A picture's noise is drawn right after its latents.
    const beside = coded.map((posterior) => {
      const latents = drawLatents(manifest, posterior, random);
      return {
        latents,
        mask: filled(latents.shape.with(axis.channels, 1), strength),
        noise: random.normal(latents.shape),
      };
    });
    return {
      noise: concat([...beside.map((one) => one.noise), noise], axis.time),
      known: {
        latents: concat([...beside.map(({ latents }) => latents), known.latents], axis.time),
        mask: concat([...beside.map(({ mask }) => mask), known.mask], axis.time),
      },
      ...(later.length === 0 ? {} : { lead: later.length, leadStarts: later.map(([at]) => at) }),
    };
  };
}
