// What a clip starts from, and parts of it.
import type { TorchRandom } from '../tensor/random.js';
import { axis, concat, createTensor, slice, type Tensor } from '../tensor/tensor.js';
import { type Known, sliceKnown, sliceTold, type Told } from './conditions.js';
import type { Window } from './windows.js';

/** What a clip starts from besides noise; each spans the whole clip. */
export interface Start {
  /** Latents that are noised to the first level; without them, the run starts from noise alone. */
  readonly source?: Tensor | undefined;
  /** [1, 1, t, h, w]: the share of the run's calls, 0 to 1, for which each position of the source is made anew. Default 1. */
  readonly renewal?: Tensor | undefined;
  /** A source clip whose structure is followed. */
  readonly follow?: Tensor | undefined;
  /** What is kept. */
  readonly known?: Known | undefined;
  /** What only the denoiser is told of. */
  readonly told?: Told | undefined;
  /** What the image encoder makes of the pictures that the clip starts from, [1, N, D], for every frame alike. */
  readonly imageEmbeds?: Tensor | undefined;
  /** A clip whose pixels say what is to be made, as latents. */
  readonly controlLatents?: Tensor | undefined;
  /** Latent frames in front of the clip that are made with it and then left out: what it is told of. Default 0. */
  readonly lead?: number | undefined;
  /** The pixel frames that those stand for, where the denoiser is told of the places of frames. */
  readonly leadStarts?: readonly number[] | undefined;
  /** Noise to start from instead of the seed's. */
  readonly noise?: Tensor | undefined;
}

/** Returns what a run starts from; what it draws is drawn before the noise. */
export type Begin = (random: TorchRandom) => Start;

/** Returns what a window of the clip starts from. */
export function sliceStart(start: Start, { start: from, end }: Window): Start {
  const cut = (tensor: Tensor | undefined) => (tensor === undefined ? undefined : slice(tensor, axis.time, from, end));
  return {
    source: cut(start.source),
    renewal: cut(start.renewal),
    follow: cut(start.follow),
    noise: cut(start.noise),
    known: start.known === undefined ? undefined : sliceKnown(start.known, from, end),
    told: start.told === undefined ? undefined : sliceTold(start.told, from, end),
    imageEmbeds: start.imageEmbeds,
    controlLatents: cut(start.controlLatents),
  };
}

/** Returns what a stretch starts from, its first frame put in front of it as often as that. What the denoiser is told of stays
 * where it is, as in diffusers. */
export function fillFront(
  { source, renewal, follow, noise, known, told, controlLatents, imageEmbeds }: Start,
  count: number,
): Start {
  const before = <T extends Tensor | undefined>(tensor: T): T => {
    if (tensor === undefined) return tensor;
    const first = slice(tensor, axis.time, 0, 1);
    return concat([...new Array<Tensor>(count).fill(first), tensor], axis.time) as T;
  };
  const after = (tensor: Tensor) => concat([tensor, createTensor(tensor.shape.with(axis.time, count))], axis.time);
  return {
    source: before(source),
    renewal: before(renewal),
    follow: before(follow),
    noise: before(noise),
    known: known === undefined ? undefined : { latents: before(known.latents), mask: before(known.mask) },
    told: told === undefined ? undefined : { latents: after(told.latents), frames: after(told.frames) },
    controlLatents: controlLatents === undefined ? undefined : after(controlLatents),
    imageEmbeds,
  };
}
