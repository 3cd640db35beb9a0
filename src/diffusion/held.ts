// What is known as latents among those of the run, which steps leave alone until the noise is down to a level of theirs.
//
// Source: diffusers' pipelines/ltx/pipeline_ltx_condition.py.
import type { NoiseSource, Schedule } from '../schedulers/scheduler.js';
import { axis, createTensor, lengthOf, type Tensor } from '../tensor/tensor.js';
import type { Known } from './conditions.js';

// Levels that are meant to be equal may differ in their last bits.
const tolerance = 1e-6;

/** Noise that the denoiser is shown on what is held exactly. */
export interface ShownNoise {
  /** What it is multiplied by, with the square of the noise level. */
  readonly share: number;
  readonly source: NoiseSource;
}

/**
 * Returns a function that is called with the latents before the first call (`call` 0), and with those of each step after that.
 * First it mixes what is known into them, by the mask's share; from then on what steps have made of a position counts
 * where the level that the step starts from is at most 1 less the mask.
 */
export function holdNear(
  { latents: given, mask }: Known,
  schedule: Schedule,
  shown: ShownNoise,
): (latents: Tensor, call: number) => Tensor {
  const positions = mask.data.length;
  let before: Tensor | undefined;
  return (latents, call) => {
    const next = createTensor(latents.shape, latents.data.slice());
    for (let at = 0; at < next.data.length; at++) {
      const share = mask.data[at % positions] as number;
      if (share === 0) continue;
      if (before === undefined) next.data[at] = mixed(next.data[at] as number, given.data[at] as number, share);
      else if ((schedule.sigmas[call - 1] as number) - tolerance >= 1 - share)
        next.data[at] = before.data[at] as number;
    }
    if (shown.share > 0 && call < schedule.timesteps.length) showNoise(next, schedule.sigmas[call] as number);
    before = next;
    return next;
  };

  /** Noise is drawn for all positions, those of a frame row by row, their channels together. */
  function showNoise(latents: Tensor, level: number): void {
    const channels = lengthOf(latents, axis.channels);
    const noise = shown.source.normal([1, positions, channels]).data;
    for (let at = 0; at < latents.data.length; at++) {
      const position = at % positions;
      if ((mask.data[position] as number) <= 1 - tolerance) continue;
      const drawn = noise[position * channels + Math.floor(at / positions)] as number;
      latents.data[at] = (given.data[at] as number) + shown.share * level ** 2 * drawn;
    }
  }
}

function mixed(from: number, to: number, share: number): number {
  return share === 1 ? to : from + share * (to - from);
}
