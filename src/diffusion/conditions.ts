// What is known of a clip before it is made: positions to keep, and a source clip to follow.
import { InvalidOptionError } from '../errors.js';
import { type ConditionMeaning, conditionChannels, conditionMaskLength, type Manifest } from '../networks/manifest.js';
import type { Schedule } from '../schedulers/scheduler.js';
import { axis, concat, createTensor, filled, sizeOf, slice, type Tensor, writeSlice } from '../tensor/tensor.js';

/** Latents that are known at some positions. */
export interface Known {
  /** [1, C, t, h, w], clean; anything where the mask is 0. */
  readonly latents: Tensor;
  /** [1, 1, t, h, w], 1 where the latents are to be kept and 0 where they are to be made; how closely, where models can tell. */
  readonly mask: Tensor;
}

/** Frames that the denoiser is told of and sees to itself: nothing is put back into the latents. */
export interface Told {
  /** [1, C, t, h, w], coded as the manifest's `conditionFrom` says. */
  readonly latents: Tensor;
  /** [1, F, t, h, w], 1 for each of the temporalCompression pixel frames that is known of a latent frame. */
  readonly frames: Tensor;
  /** [1, S², t, h, w] with S = spatialCompression: 1 for each pixel that is known, where the denoiser is told of pixels. */
  readonly pixels?: Tensor | undefined;
}

/** What the denoiser graph is given besides latents and prompt. */
export interface Condition {
  /** [1, C, t, h, w]; undefined where what is known lies in the latents themselves. */
  readonly conditionLatents?: Tensor | undefined;
  /** [1, M, t, h, w], channels as in the manifest. */
  readonly conditionMask: Tensor;
}

/** Returns `known` extended so that the frames `frames` [1, C, n, h, w] are kept at latent time `start`, as closely as that. */
export function keepFrames(
  known: Known | undefined,
  shape: readonly number[],
  frames: Tensor,
  start: number,
  strength = 1,
): Known {
  const latents = known === undefined ? createTensor(shape) : { ...known.latents, data: known.latents.data.slice() };
  const maskShape = shape.with(axis.channels, 1);
  const mask = known === undefined ? createTensor(maskShape) : { ...known.mask, data: known.mask.data.slice() };
  writeSlice(latents, axis.time, start, frames);
  writeSlice(mask, axis.time, start, filled(frames.shape.with(axis.channels, 1), strength));
  return { latents, mask };
}

/** Returns latent frames [start, end) of what is known. */
export function sliceKnown(known: Known, start: number, end: number): Known {
  return { latents: slice(known.latents, axis.time, start, end), mask: slice(known.mask, axis.time, start, end) };
}

/** Returns latent frames [start, end) of what the denoiser is told. */
export function sliceTold(told: Told, start: number, end: number): Told {
  const cut = (tensor: Tensor) => slice(tensor, axis.time, start, end);
  return {
    latents: cut(told.latents),
    frames: cut(told.frames),
    pixels: told.pixels === undefined ? undefined : cut(told.pixels),
  };
}

/** What a condition is made of; all span the same latents. */
export interface Given {
  readonly known?: Known | undefined;
  readonly told?: Told | undefined;
  /** A source clip's latents [1, C, t, h, w], whose structure is followed wherever nothing is kept. */
  readonly follow?: Tensor | undefined;
}

/** Returns the condition inputs for what is known, told and followed, or undefined when the denoiser takes none. What is
 * known goes before what is told. */
export function buildCondition(manifest: Manifest, { known, told, follow }: Given): Condition | undefined {
  const meanings = manifest.graphs.denoiser.conditionMask;
  const shape = (known ?? told)?.latents.shape ?? follow?.shape;
  if (meanings === undefined || shape === undefined) return undefined;
  const conditionLatents = createTensor(shape, told?.latents.data.slice());
  const conditionMask = createTensor(shape.with(axis.channels, conditionMaskLength(manifest)));
  const positions = sizeOf(shape.slice(axis.time));
  let channel = 0;
  for (const meaning of meanings) {
    const count = conditionChannels(manifest.latent, meaning);
    const toldMask = told === undefined ? undefined : toldChannels(told, meaning);
    const mask = conditionMask.data.subarray(channel * positions, (channel + count) * positions);
    channel += count;
    for (let at = 0; at < mask.length; at++) {
      const position = at % positions;
      const kept = known?.mask.data[position] ?? 0;
      if (meaning === 'follow') mask[at] = kept === 0 && follow !== undefined ? 1 : 0;
      else mask[at] = kept > 0 ? kept : (toldMask?.data[at] ?? 0);
    }
  }
  if (manifest.graphs.denoiser.knownFrames === 'held') return { conditionMask };
  const follows = meanings.includes('follow') ? follow : undefined;
  for (let at = 0; at < conditionLatents.data.length; at++) {
    const from = known?.mask.data[at % positions] === 1 ? known.latents : follows;
    if (from !== undefined) conditionLatents.data[at] = from.data[at] as number;
  }
  return { conditionLatents, conditionMask };
}

/** Returns the mask of what is told in the channels of that meaning. */
function toldChannels({ frames, pixels }: Told, meaning: ConditionMeaning): Tensor | undefined {
  if (meaning === 'keep-frames') return frames;
  if (meaning === 'keep-pixels') return pixels;
  const whole = slice(frames, axis.channels, 0, 1);
  for (const [at, value] of frames.data.entries()) if (value !== 1) whole.data[at % whole.data.length] = 0;
  return whole;
}

/** Returns what a denoiser is told of latents that are kept where the mask [1, 1, t, h, w] is 1. */
export function tell({ latent }: Manifest, latents: Tensor, keep: Tensor): Told {
  return { latents, frames: concat(new Array<Tensor>(latent.temporalCompression).fill(keep), axis.channels) };
}

/** Returns a function that puts what is known, noised to the level of the next call, back into the latents (Lugmayr et al. 2022,
 * arXiv 2201.09865); after the last call that is the known latents themselves. `noise` is the noise that the run started from. */
export function constrainTo(
  known: Known,
  schedule: Schedule,
  noise: Tensor,
): (latents: Tensor, call: number) => Tensor {
  return (latents, call) => mix(latents, noisedFor(known.latents, schedule, noise, call), known.mask);
}

/** Returns clean latents at the noise level of a call; after the last call, as they are. */
export function noisedFor(clean: Tensor, schedule: Schedule, noise: Tensor, call: number): Tensor {
  return call < schedule.timesteps.length ? schedule.addNoise(clean, noise, call) : clean;
}

/** Returns `kept` where the mask [1, 1, t, h, w] is 1 and `made` where it is 0 (new tensor). */
export function mix(made: Tensor, kept: Tensor, mask: Tensor): Tensor {
  const result = createTensor(made.shape, made.data.slice());
  const positions = mask.data.length;
  for (let at = 0; at < result.data.length; at++) {
    if (mask.data[at % positions] === 1) result.data[at] = kept.data[at] as number;
  }
  return result;
}

/** Throws unless the bundle can do the task. */
export function requireTask(manifest: Manifest, task: Manifest['tasks'][number]): void {
  if (manifest.tasks.includes(task)) return;
  throw new InvalidOptionError(
    `Expected model "${manifest.name}" to be able to do "${task}", but it does ${manifest.tasks.join(', ')}. Choose another model.`,
  );
}
