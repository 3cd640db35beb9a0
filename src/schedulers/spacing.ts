// Which timesteps and sigmas of training a run visits. Rounding follows numpy, which diffusers spaces them with.
//
// Sources: T. Karras et al., "Elucidating the design space of diffusion-based generative models" (arXiv 2206.00364),
// equation 5; S. Lin et al. (2305.08891), table 2 for the names of the spacings; "Beta sampling is all you need" (2407.12173).
import { z } from 'zod';
import { expected, InvalidOptionError } from '../errors.js';
import { betaQuantile } from './beta-quantile.js';
import { assertAtMostOne, flag } from './config.js';

/** The fields of a config that space timesteps, with a class's own default. */
export function spacingFields(spacing: 'linspace' | 'leading' | 'trailing') {
  return {
    timestep_spacing: z.enum(['linspace', 'leading', 'trailing']).default(spacing),
    steps_offset: z.int().min(0).default(0),
  };
}

/** The fields of a config that replace the spacing of sigmas. */
export const rampFields = {
  use_karras_sigmas: flag(),
  use_exponential_sigmas: flag(),
  use_beta_sigmas: flag(),
};

/** Returns `count` evenly spaced numbers from start to stop, both included; one number is the start. */
export function linspace(start: number, stop: number, count: number): number[] {
  if (count === 1) return [start];
  const step = (stop - start) / (count - 1);
  return Array.from({ length: count }, (_, i) => (i === count - 1 ? stop : i * step + start));
}

/** Returns the nearest whole number; halves go to the even one. */
export function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return rest < 0.5 ? floor : floor + 1;
  return floor % 2 === 0 ? floor : floor + 1;
}

/** What `spacingFields` and `trainStepsField` read. */
export interface SpacingConfig {
  readonly num_train_timesteps: number;
  readonly timestep_spacing: 'linspace' | 'leading' | 'trailing';
  readonly steps_offset: number;
}

/**
 * Returns the timesteps of a run, highest first: the first `steps` of `points` that are spread over training.
 * Those of `linspace` are fractions. Where diffusers' `trailing` ends in an extra timestep of -1 (61 steps, say), this does not.
 */
export function spaceTimesteps(config: SpacingConfig, steps: number, points = steps): number[] {
  const { num_train_timesteps: trainSteps, timestep_spacing: spacing, steps_offset: offset } = config;
  if (spacing === 'linspace')
    return linspace(0, trainSteps - 1, points)
      .reverse()
      .slice(0, steps);
  if (spacing === 'leading') {
    const ratio = Math.trunc(trainSteps / points);
    return Array.from({ length: steps }, (_, i) => (points - 1 - i) * ratio + offset);
  }
  const ratio = trainSteps - (trainSteps - trainSteps / steps);
  return Array.from({ length: steps }, (_, i) => roundHalfEven(trainSteps - i * ratio) - 1);
}

/** Returns the whole timesteps of a run, highest first. Throws InvalidOptionError where an offset leads beyond training. */
export function spaceWholeTimesteps(config: SpacingConfig, steps: number): number[] {
  const timesteps = spaceTimesteps(config, steps).map(roundHalfEven);
  const last = config.num_train_timesteps - 1;
  if ((timesteps[0] ?? 0) > last) {
    const advice = 'Use fewer steps, or a smaller steps_offset.';
    throw new InvalidOptionError(expected('first timestep', `at most ${last}`, timesteps[0], advice));
  }
  return timesteps;
}

/** Returns the value at a fractional position of a list, on the line between its neighbours. */
export function interpolate(values: readonly number[], position: number): number {
  const at = Math.min(Math.max(position, 0), values.length - 1);
  const below = Math.min(Math.trunc(at), Math.max(values.length - 2, 0));
  const low = values[below] as number;
  const high = values[below + 1] ?? low;
  return (high - low) * (at - below) + low;
}

/** Returns the fractional timestep of training that has this sigma, by its logarithm. `logSigmas` ascend. */
export function timestepOf(sigma: number, logSigmas: readonly number[]): number {
  const logSigma = Math.log(Math.max(sigma, 1e-10));
  const above = logSigmas.findIndex((candidate) => candidate > logSigma);
  const below = Math.min(Math.max((above < 0 ? logSigmas.length : above) - 1, 0), logSigmas.length - 2);
  const low = logSigmas[below] as number;
  const high = logSigmas[below + 1] as number;
  const share = Math.min(Math.max((low - logSigma) / (low - high), 0), 1);
  return (1 - share) * below + share * (below + 1);
}

/** How sigmas fall from the highest to the lowest. */
export type Ramp = 'karras' | 'exponential' | 'beta';

/** Returns the ramp that a config asks for, if any. Throws BundleError when it asks for more than one. */
export function rampOf(
  className: string,
  { use_karras_sigmas, use_exponential_sigmas, use_beta_sigmas }: { [field in keyof typeof rampFields]: boolean },
): Ramp | undefined {
  assertAtMostOne(className, { use_karras_sigmas, use_exponential_sigmas, use_beta_sigmas });
  if (use_karras_sigmas) return 'karras';
  if (use_exponential_sigmas) return 'exponential';
  return use_beta_sigmas ? 'beta' : undefined;
}

const karrasRho = 7;
const betaShape = 0.6;

/** Returns `count` sigmas from the highest to the lowest. */
export function rampSigmas(ramp: Ramp, highest: number, lowest: number, count: number): number[] {
  if (ramp === 'exponential') return linspace(Math.log(highest), Math.log(lowest), count).map(Math.exp);
  if (ramp === 'beta') {
    return linspace(0, 1, count).map((share) => lowest + betaQuantile(1 - share, betaShape) * (highest - lowest));
  }
  const top = highest ** (1 / karrasRho);
  const bottom = lowest ** (1 / karrasRho);
  return linspace(0, 1, count).map((share) => (top + share * (bottom - top)) ** karrasRho);
}
