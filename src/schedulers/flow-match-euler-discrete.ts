// Euler's method along the straight paths of flow matching; diffusers' FlowMatchEulerDiscreteScheduler.
import { z } from 'zod';
import { combine } from '../tensor/math.js';
import { readConfig, unsupported } from './config.js';
import {
  dynamicShift,
  dynamicShiftFields,
  givenSigmas,
  ownSigmas,
  shiftSigma,
  stretchToTerminal,
} from './flow-schedule.js';
import { trainStepsField } from './noise-schedule.js';
import { at, createSchedulerFrom, type Run } from './run.js';
import type { ScheduleOptions, Scheduler } from './scheduler.js';
import { rampFields, rampOf, rampSigmas } from './spacing.js';

const className = 'FlowMatchEulerDiscreteScheduler';
const { fround } = Math;

const schema = z.object({
  ...trainStepsField,
  ...dynamicShiftFields,
  ...rampFields,
  shift: z.number().gt(0).default(1),
  shift_terminal: z.number().min(0).lt(1).nullish(),
  time_shift_type: z.enum(['exponential', 'linear']).default('exponential'),
  invert_sigmas: unsupported(false),
  stochastic_sampling: unsupported(false),
});

/** Returns the scheduler that a scheduler_config.json describes. Throws BundleError. */
export function createFlowMatchEulerDiscrete(config: unknown): Scheduler {
  const settings = readConfig(className, schema, config);
  const ramp = rampOf(className, settings);
  const { num_train_timesteps: trainSteps, shift, use_dynamic_shifting: isDynamic } = settings;

  const plan = (options: ScheduleOptions): Run => {
    let sigmas: readonly number[] =
      givenSigmas(options)?.map(fround) ?? ownSigmas(options.steps, trainSteps, isDynamic ? 1 : shift);
    if (isDynamic) {
      const mu = dynamicShift(className, settings, options.sequenceLength);
      const factor = settings.time_shift_type === 'linear' ? mu : Math.exp(mu);
      sigmas = sigmas.map((sigma) => factor / (factor + (1 / sigma - 1)));
    } else sigmas = sigmas.map((sigma) => shiftSigma(sigma, shift));
    if (settings.shift_terminal) sigmas = stretchToTerminal(sigmas, settings.shift_terminal);
    if (ramp !== undefined) sigmas = rampSigmas(ramp, at(sigmas, 0), at(sigmas, sigmas.length - 1), sigmas.length);
    const levels = [...sigmas.map(fround), 0];
    return {
      timesteps: levels.slice(0, -1).map((sigma) => fround(sigma * trainSteps)),
      sigmas: levels,
      initNoiseSigma: 1,
      noiseWeights: (call) => [1 - at(levels, call), at(levels, call)],
      start: () => (call, prediction, latents) => {
        const sigma = at(levels, call);
        return {
          latents: combine(1, latents, at(levels, call + 1) - sigma, prediction),
          denoised: combine(1, latents, -sigma, prediction),
        };
      },
    };
  };
  return createSchedulerFrom(className, 'flow', trainSteps, plan);
}
