// What is known of a clip before it is made: positions to keep, and a source clip to follow.
import { InvalidOptionError } from '../errors.js';
import type { Manifest } from '../networks/manifest.js';
import type { Schedule } from '../schedulers/scheduler.js';
import { axis, createTensor, filled, lengthOf, sizeOf, slice, type Tensor, writeSlice } from '../tensor/tensor.js';

/** Latents that are known at some positions. */
export interface Known {
  /** [1, C, t, h, w], clean; anything where the mask is 0. */
  readonly latents: Tensor;
  /** [1, 1, t, h, w], 1 where the latents are to be kept and 0 where they are to be made. */
  readonly mask: Tensor;
}

/** What the denoiser graph is given besides latents and prompt. */
export interface Condition {
  /** [1, C, t, h, w]. */
  readonly conditionLatents: Tensor;
  /** [1, M, t, h, w], channels as in the manifest. */
  readonly conditionMask: Tensor;
}

/** Returns `known` extended so that the frames `frames` [1, C, n, h, w] are kept at latent time `start`. */
export function keepFrames(known: Known | undefined, shape: readonly number[], frames: Tensor, start: number): Known {
  const latents = known === undefined ? createTensor(shape) : { ...known.latents, data: known.latents.data.slice() };
  const maskShape = shape.with(axis.channels, 1);
  const mask = known === undefined ? createTensor(maskShape) : { ...known.mask, data: known.mask.data.slice() };
  writeSlice(latents, axis.time, start, frames);
  writeSlice(mask, axis.time, start, filled(frames.shape.with(axis.channels, 1), 1));
  return { latents, mask };
}

/** Returns latent frames [start, end) of what is known. */
export function sliceKnown(known: Known, start: number, end: number): Known {
  return { latents: slice(known.latents, axis.time, start, end), mask: slice(known.mask, axis.time, start, end) };
}

/** Returns the condition inputs for what is known and followed, or undefined when the denoiser takes none.
 * A source to follow counts wherever nothing is kept. `follow` is a source clip's latents [1, C, t, h, w]. */
export function buildCondition(
  manifest: Manifest,
  known: Known | undefined,
  follow: Tensor | undefined,
): Condition | undefined {
  const meanings = manifest.graphs.denoiser.conditionMask;
  const any = known ?? (follow === undefined ? undefined : { latents: follow });
  if (meanings === undefined || any === undefined) return undefined;
  const { shape } = any.latents;
  const conditionLatents = createTensor(shape);
  const conditionMask = createTensor(shape.with(axis.channels, meanings.length));
  const positions = sizeOf(shape) / lengthOf(any.latents, axis.channels);
  const keepChannel = meanings.indexOf('keep');
  const followChannel = meanings.indexOf('follow');
  for (let position = 0; position < positions; position++) {
    const isKept = keepChannel >= 0 && known !== undefined && known.mask.data[position] === 1;
    const from = isKept ? known.latents : followChannel >= 0 ? follow : undefined;
    if (from === undefined) continue;
    conditionMask.data[(isKept ? keepChannel : followChannel) * positions + position] = 1;
    for (let at = position; at < conditionLatents.data.length; at += positions) {
      conditionLatents.data[at] = from.data[at] as number;
    }
  }
  return { conditionLatents, conditionMask };
}

/** Returns a function that puts what is known, noised to the level of the next call, back into the latents (Lugmayr et al. 2022,
 * arXiv 2201.09865); after the last call that is the known latents themselves. `noise` is the noise that the run started from. */
export function constrainTo(
  known: Known,
  schedule: Schedule,
  noise: Tensor,
): (latents: Tensor, call: number) => Tensor {
  return (latents, call) => {
    const target = call < schedule.timesteps.length ? schedule.addNoise(known.latents, noise, call) : known.latents;
    return mix(latents, target, known.mask);
  };
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
