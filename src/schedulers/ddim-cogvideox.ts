// DDIM over CogVideoX's noise levels, which its training moved towards noise; diffusers' CogVideoXDDIMScheduler.
//
// Source: Z. Yang et al., "CogVideoX" (arXiv 2408.06072), section 2 and appendix; the SNR shift is that of E. Hoogeboom et
// al., "simple diffusion" (2301.11093), section 3.1.
import { z } from 'zod';
import { combine } from '../tensor/math.js';
import { flag, predictionField, readConfig } from './config.js';
import { alphaRun, refuseNoiseOfNothing, stepRatio, type VisitedAlphas, visitAlphas } from './ddim.js';
import { refuseSigmas } from './flow-schedule.js';
import { cumulativeAlphas, noiseFields, withZeroTerminalSnr } from './noise-schedule.js';
import { createSchedulerFrom, denoisedWeights, type Run } from './run.js';
import type { PredictionType, ScheduleOptions, Scheduler } from './scheduler.js';
import { spaceWholeTimesteps, spacingFields } from './spacing.js';

// clip_sample is a key of this class too, which diffusers reads and never uses.
const schema = z.object({
  ...noiseFields(0.00085, 0.012, 'scaled_linear'),
  ...spacingFields('leading'),
  prediction_type: predictionField(['epsilon', 'v_prediction', 'sample'], 'epsilon'),
  set_alpha_to_one: flag(true),
  rescale_betas_zero_snr: flag(),
  snr_shift_scale: z.number().gt(0).default(3),
});

/** What both of CogVideoX's schedulers are made of. */
export interface CogVideoXLevels {
  readonly predictionType: PredictionType;
  readonly trainSteps: number;
  /** Returns a run's levels, and the run over them but for its rule. */
  visit(options: ScheduleOptions): { readonly visited: VisitedAlphas; readonly run: Omit<Run, 'start'> };
}

/** Returns what a scheduler_config.json says of the noise levels. Throws BundleError. */
export function readCogVideoX(className: string, config: unknown): CogVideoXLevels {
  const settings = readConfig(className, schema, config);
  const { prediction_type: predictionType, num_train_timesteps: trainSteps, snr_shift_scale: shift } = settings;
  refuseNoiseOfNothing(className, settings);
  const shifted = cumulativeAlphas(settings).map((alpha) => alpha / (shift + (1 - shift) * alpha));
  const alphas = settings.rescale_betas_zero_snr ? withZeroTerminalSnr(shifted) : shifted;

  const visit = (options: ScheduleOptions) => {
    refuseSigmas(className, options);
    const timesteps = spaceWholeTimesteps(settings, options.steps);
    const visited = visitAlphas(timesteps, stepRatio(trainSteps, options.steps), alphas, settings.set_alpha_to_one);
    return { visited, run: alphaRun(visited) };
  };
  return { predictionType, trainSteps, visit };
}

/** Returns the scheduler that a scheduler_config.json describes. Throws BundleError. */
export function createCogVideoXDdim(config: unknown): Scheduler {
  const className = 'CogVideoXDDIMScheduler';
  const { predictionType, trainSteps, visit } = readCogVideoX(className, config);
  return createSchedulerFrom(className, predictionType, trainSteps, (options) => {
    const { visited, run } = visit(options);
    return {
      ...run,
      start: () => (call, prediction, latents) => {
        const [alpha, sigma] = visited.weights(call);
        const [nextAlpha, nextSigma] = visited.nextWeights(call);
        const [keep, change] = denoisedWeights(predictionType, alpha, sigma);
        const denoised = combine(keep, latents, change, prediction);
        const ratio = nextSigma / sigma;
        return { latents: combine(ratio, latents, nextAlpha - alpha * ratio, denoised), denoised };
      },
    };
  });
}
