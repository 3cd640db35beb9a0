// Euler's method for variance-preserving models, in diffusers' scale where latents are clean + σ·noise.
//
// Source: T. Karras et al. (arXiv 2206.00364), algorithm 2 without churn; diffusers' EulerDiscreteScheduler.
import { z } from 'zod';
import { combine } from '../tensor/math.js';
import { flag, predictionField, readConfig, unsupported } from './config.js';
import { refuseSigmas } from './flow-schedule.js';
import { noiseFields, trainingSigmas } from './noise-schedule.js';
import { at, createSchedulerFrom, type Run } from './run.js';
import type { PredictionType, ScheduleOptions, Scheduler } from './scheduler.js';
import {
  interpolate,
  rampFields,
  rampOf,
  rampSigmas,
  type SpacingConfig,
  spaceTimesteps,
  spacingFields,
  timestepOf,
} from './spacing.js';

const className = 'EulerDiscreteScheduler';
const { fround } = Math;

const schema = z.object({
  ...noiseFields(),
  ...spacingFields('linspace'),
  ...rampFields,
  prediction_type: predictionField(['epsilon', 'v_prediction', 'sample'], 'epsilon'),
  rescale_betas_zero_snr: flag(),
  sigma_min: z.number().gt(0).nullish(),
  sigma_max: z.number().gt(0).nullish(),
  final_sigmas_type: z.enum(['zero', 'sigma_min']).default('zero'),
  interpolation_type: unsupported('linear'),
  timestep_type: unsupported('discrete'),
});

/** Returns the scheduler that a scheduler_config.json describes. Throws BundleError. */
export function createEulerDiscrete(config: unknown): Scheduler {
  const settings = readConfig(className, schema, config);
  const ramp = rampOf(className, settings);
  const training = trainingSigmas(settings);
  const logSigmas = training.map((sigma) => fround(Math.log(sigma)));
  const last = settings.final_sigmas_type === 'zero' ? 0 : at(training, 0);

  const plan = (options: ScheduleOptions): Run => {
    refuseSigmas(className, options);
    let timesteps = spaceTimesteps(settings, options.steps).map(fround);
    let sigmas = timesteps.map((timestep) => interpolate(training, timestep));
    if (ramp !== undefined) {
      const highest = settings.sigma_max ?? at(sigmas, 0);
      const lowest = settings.sigma_min ?? at(sigmas, sigmas.length - 1);
      sigmas = rampSigmas(ramp, highest, lowest, options.steps);
      timesteps = sigmas.map((sigma) => fround(timestepOf(sigma, logSigmas)));
    }
    const levels = [...sigmas, last].map(fround);
    return {
      ...unscaledRun(settings, timesteps, levels),
      start: () => (call, prediction, latents) => {
        const sigma = at(levels, call);
        const [keep, change] = unscaledDenoisedWeights(settings.prediction_type, sigma);
        const ratio = (at(levels, call + 1) - sigma) / sigma;
        return {
          latents: combine(1 + ratio * (1 - keep), latents, -ratio * change, prediction),
          denoised: combine(keep, latents, change, prediction),
        };
      },
    };
  };
  return createSchedulerFrom(className, settings.prediction_type, settings.num_train_timesteps, plan);
}

/** Returns what both of Euler's methods share: latents that grow with σ, and are scaled down for the network. */
export function unscaledRun(
  config: SpacingConfig,
  timesteps: readonly number[],
  levels: readonly number[],
): Omit<Run, 'start'> {
  const highest = Math.max(...levels);
  return {
    timesteps,
    sigmas: levels,
    initNoiseSigma: config.timestep_spacing === 'leading' ? Math.sqrt(highest ** 2 + 1) : highest,
    noiseWeights: (call) => [1, at(levels, call)],
    inputScale: (call) => 1 / Math.sqrt(at(levels, call) ** 2 + 1),
  };
}

/** Returns what latents and prediction are multiplied by to give clean latents, where latents = clean + σ·noise. */
export function unscaledDenoisedWeights(
  type: PredictionType,
  sigma: number,
): readonly [latents: number, prediction: number] {
  if (type === 'epsilon') return [1, -sigma];
  if (type === 'v_prediction') return [1 / (sigma ** 2 + 1), -sigma / Math.sqrt(sigma ** 2 + 1)];
  return [0, 1];
}
