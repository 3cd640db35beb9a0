// Noise levels of flow matching, σ from 1 (noise) to 0 (clip) along the straight line between the two, and their shifts.
//
// Sources: Y. Lipman et al., "Flow matching for generative modeling" (arXiv 2210.02747); P. Esser et al., "Scaling
// rectified flow transformers" (2403.03206), section 5.3.2 (shift); diffusers' scheduling_flow_match_euler_discrete.py.
import { z } from 'zod';
import { expected, InvalidOptionError } from '../errors.js';
import { flag } from './config.js';
import type { ScheduleOptions } from './scheduler.js';
import { linspace } from './spacing.js';

const { fround } = Math;

/** The fields of a config that shift σ by the length of what is denoised. */
export const dynamicShiftFields = {
  use_dynamic_shifting: flag(),
  base_shift: z.number().default(0.5),
  max_shift: z.number().default(1.15),
  base_image_seq_len: z.int().min(1).default(256),
  max_image_seq_len: z.int().min(1).default(4096),
};

type DynamicShift = {
  readonly [field in keyof typeof dynamicShiftFields]: z.infer<(typeof dynamicShiftFields)[field]>;
};

/** Returns σ shifted towards noise by a factor; 1 leaves it. */
export function shiftSigma(sigma: number, factor: number): number {
  return (factor * sigma) / (1 + (factor - 1) * sigma);
}

/** Returns μ for a sequence length: the line through (base length, base shift) and (most length, most shift). */
export function dynamicShift(className: string, config: DynamicShift, sequenceLength: number | undefined): number {
  if (sequenceLength === undefined || !(sequenceLength > 0)) {
    const advice = `${className} shifts its noise levels by it.`;
    throw new InvalidOptionError(expected('sequenceLength', 'above 0', sequenceLength, advice));
  }
  const { base_shift: low, max_shift: high, base_image_seq_len: short, max_image_seq_len: long } = config;
  const slope = (high - low) / (long - short);
  return sequenceLength * slope + (low - slope * short);
}

/** Returns σ stretched so that the last one is `terminal`; 1 stays 1. */
export function stretchToTerminal(sigmas: readonly number[], terminal: number): number[] {
  const scale = (1 - (sigmas.at(-1) ?? 0)) / (1 - terminal);
  return sigmas.map((sigma) => 1 - (1 - sigma) / scale);
}

/** Returns the σ that a caller gave, if any, checked: one a step, falling, within (0, 1]. Throws InvalidOptionError. */
export function givenSigmas({ sigmas, steps }: ScheduleOptions): readonly number[] | undefined {
  if (sigmas === undefined) return undefined;
  const falls = sigmas.every((sigma, i) => sigma > 0 && sigma < (sigmas[i - 1] ?? Number.POSITIVE_INFINITY));
  if (sigmas.length !== steps || !falls || (sigmas[0] ?? 0) > 1) {
    throw new InvalidOptionError(expected('sigmas', `${steps} falling numbers above 0 and at most 1`, [...sigmas]));
  }
  return sigmas;
}

/** Returns σ that fall evenly from 1 to 1/steps, which some families' pipelines in diffusers start from. */
export function linearSigmas(steps: number): number[] {
  return linspace(1, 1 / steps, steps);
}

/**
 * Returns σ that fall evenly to 0.975 over the first half of the steps, and along a parabola from there on; LTX-Video's
 * (Y. HaCohen et al., arXiv 2501.00103), after Movie Gen (arXiv 2410.13720, section 3.4.2).
 */
export function linearQuadraticSigmas(steps: number): number[] {
  if (steps === 1) return [1];
  const threshold = 0.025;
  const linearSteps = Math.floor(steps / 2);
  const quadraticSteps = steps - linearSteps;
  const lacking = linearSteps - threshold * steps;
  const quadratic = lacking / (linearSteps * quadraticSteps ** 2);
  const linear = threshold / linearSteps - (2 * lacking) / quadraticSteps ** 2;
  return Array.from({ length: steps }, (_, step) =>
    step < linearSteps
      ? 1 - (step * threshold) / linearSteps
      : 1 - (quadratic * step ** 2 + linear * step + quadratic * linearSteps ** 2),
  );
}

/** Throws InvalidOptionError when a caller gives σ to a scheduler that has no use for it. */
export function refuseSigmas(className: string, { sigmas }: ScheduleOptions): void {
  if (sigmas !== undefined) {
    throw new InvalidOptionError(
      expected('sigmas', `absent for ${className}`, [...sigmas], 'Only flow schedulers take them.'),
    );
  }
}

/**
 * Returns diffusers' own σ, before the shift of the run. It spaces them from 1 to the lowest level of training, to which it has
 * already applied the shift once; so a static shift acts twice.
 */
export function ownSigmas(steps: number, trainSteps: number, shift: number): number[] {
  const lowest = fround(shiftSigma(fround(1 / trainSteps), shift));
  return linspace(trainSteps, lowest * trainSteps, steps).map((timestep) => timestep / trainSteps);
}
