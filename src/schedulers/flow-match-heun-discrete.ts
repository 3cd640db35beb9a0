// Heun's method, of second order, along the straight paths of flow matching; diffusers' FlowMatchHeunDiscreteScheduler.
//
// Each step but the last takes two network calls: an Euler step, then again with the mean of the slopes at both of its ends.
// Source: T. Karras et al. (arXiv 2206.00364), algorithm 1 without churn.
import { z } from 'zod';
import { combine, weightedSum } from '../tensor/math.js';
import type { Tensor } from '../tensor/tensor.js';
import { readConfig } from './config.js';
import { givenSigmas, ownSigmas, shiftSigma } from './flow-schedule.js';
import { trainStepsField } from './noise-schedule.js';
import { at, createSchedulerFrom, type Run, type StepRule } from './run.js';
import type { ScheduleOptions, Scheduler } from './scheduler.js';

const className = 'FlowMatchHeunDiscreteScheduler';
const { fround } = Math;

const schema = z.object({ ...trainStepsField, shift: z.number().gt(0).default(1) });

/** Returns the scheduler that a scheduler_config.json describes. Throws BundleError. */
export function createFlowMatchHeunDiscrete(config: unknown): Scheduler {
  const { num_train_timesteps: trainSteps, shift } = readConfig(className, schema, config);
  const plan = (options: ScheduleOptions): Run => {
    const unshifted = givenSigmas(options) ?? ownSigmas(options.steps, trainSteps, shift);
    const [first = 1, ...others] = unshifted.map((sigma) => fround(shiftSigma(sigma, shift)));
    const visited = [first, ...others.flatMap((sigma) => [sigma, sigma])];
    const levels = [...visited, 0];
    return {
      timesteps: visited.map((sigma) => fround(sigma * trainSteps)),
      sigmas: levels,
      initNoiseSigma: 1,
      callsPerStep: 2,
      noiseWeights: (call) => [1 - at(levels, call), at(levels, call)],
      start: () => createRule(levels),
    };
  };
  return createSchedulerFrom(className, 'flow', trainSteps, plan);
}

function createRule(levels: readonly number[]): StepRule {
  /** Where the step under way began, between its two calls. */
  let begun: { latents: Tensor; slope: Tensor } | undefined;
  return (call, prediction, latents) => {
    const denoised = combine(1, latents, -at(levels, call), prediction);
    if (begun === undefined) {
      begun = { latents, slope: prediction };
      return { latents: combine(1, latents, at(levels, call + 1) - at(levels, call), prediction), denoised };
    }
    const { latents: start, slope } = begun;
    begun = undefined;
    const half = (at(levels, call) - at(levels, call - 1)) / 2;
    return { latents: weightedSum([1, start], [half, slope], [half, prediction]), denoised };
  };
}
