// DDIM without added noise; diffusers' DDIMScheduler.
//
// Source: J. Song et al., "Denoising diffusion implicit models" (arXiv 2010.02502), equation 12 with η = 0.
import { z } from 'zod';
import { clampInPlace, combine, weightedSum } from '../tensor/math.js';
import { flag, predictionField, readConfig, refuseTogether, unsupported } from './config.js';
import { refuseSigmas } from './flow-schedule.js';
import { noiseFields, rescaledAlphas, sigmaOf } from './noise-schedule.js';
import { at, createSchedulerFrom, denoisedWeights, type Run } from './run.js';
import type { PredictionType, ScheduleOptions, Scheduler } from './scheduler.js';
import { spaceWholeTimesteps, spacingFields } from './spacing.js';

const className = 'DDIMScheduler';

const schema = z.object({
  ...noiseFields(),
  ...spacingFields('leading'),
  prediction_type: predictionField(['epsilon', 'v_prediction', 'sample'], 'epsilon'),
  set_alpha_to_one: flag(true),
  clip_sample: flag(true),
  clip_sample_range: z.number().gt(0).default(1),
  rescale_betas_zero_snr: flag(),
  thresholding: unsupported(false),
});

/** Returns the scheduler that a scheduler_config.json describes. Throws BundleError. */
export function createDdim(config: unknown): Scheduler {
  const settings = readConfig(className, schema, config);
  const { prediction_type: predictionType, num_train_timesteps: trainSteps } = settings;
  refuseNoiseOfNothing(className, settings);
  const alphas = rescaledAlphas(settings);

  const plan = (options: ScheduleOptions): Run => {
    refuseSigmas(className, options);
    const timesteps = spaceWholeTimesteps(settings, options.steps);
    const visited = visitAlphas(timesteps, stepRatio(trainSteps, options.steps), alphas, settings.set_alpha_to_one);
    return {
      ...alphaRun(visited),
      start: () => (call, prediction, latents) => {
        const [alpha, sigma] = visited.weights(call);
        const [nextAlpha, nextSigma] = visited.nextWeights(call);
        const [keep, change] = denoisedWeights(predictionType, alpha, sigma);
        const denoised = combine(keep, latents, change, prediction);
        if (settings.clip_sample) clampInPlace(denoised, settings.clip_sample_range);
        const [noiseKeep, noiseChange] = noiseWeights(predictionType, alpha, sigma);
        const next = weightedSum(
          [nextAlpha, denoised],
          [nextSigma * noiseKeep, latents],
          [nextSigma * noiseChange, prediction],
        );
        return { latents: next, denoised };
      },
    };
  };
  return createSchedulerFrom(className, predictionType, trainSteps, plan);
}

/** Returns what latents and prediction are multiplied by to give the noise, where latents = α·clean + σ·noise. */
export function noiseWeights(
  type: PredictionType,
  alpha: number,
  sigma: number,
): readonly [latents: number, prediction: number] {
  if (type === 'epsilon') return [0, 1];
  return type === 'v_prediction' ? [sigma, alpha] : [1 / sigma, -alpha / sigma];
}

/** What clean latents and noise are multiplied by at a level. */
export type Weights = readonly [alpha: number, sigma: number];

/** The timesteps of a run, with √ᾱ and √(1-ᾱ) at each and after it. */
export interface VisitedAlphas {
  readonly timesteps: readonly number[];
  weightsOf(timestep: number): Weights;
  weights(call: number): Weights;
  nextWeights(call: number): Weights;
}

/** Returns a run's levels. A call leads `ratio` timesteps down; below 0 lies all of the clip, or as much as at timestep 0. */
export function visitAlphas(
  timesteps: readonly number[],
  ratio: number,
  alphas: readonly number[],
  endsAtOne: boolean,
): VisitedAlphas {
  const end = endsAtOne ? 1 : at(alphas, 0);
  const weightsOf = (timestep: number): Weights => {
    const alpha = timestep < 0 ? end : at(alphas, timestep);
    return [Math.sqrt(alpha), Math.sqrt(1 - alpha)];
  };
  return {
    timesteps,
    weightsOf,
    weights: (call) => weightsOf(at(timesteps, call)),
    nextWeights: (call) => weightsOf(at(timesteps, call) - ratio),
  };
}

/** Returns how many timesteps of training one step leads down. */
export function stepRatio(trainSteps: number, steps: number): number {
  return Math.trunc(trainSteps / steps);
}

/** Returns a run over those timesteps, but for its rule. */
export function alphaRun({ timesteps, weights, nextWeights }: VisitedAlphas): Omit<Run, 'start'> {
  const sigmas = timesteps.map((_, call) => sigmaOf(weights(call)[0] ** 2));
  return {
    timesteps,
    sigmas: [...sigmas, sigmaOf(nextWeights(timesteps.length - 1)[0] ** 2)],
    initNoiseSigma: 1,
    noiseWeights: weights,
  };
}

/** Throws BundleError for a model that predicts noise where latents are all noise: it says nothing about the clip there. */
export function refuseNoiseOfNothing(
  name: string,
  settings: { readonly prediction_type: PredictionType; readonly rescale_betas_zero_snr: boolean },
): void {
  if (settings.rescale_betas_zero_snr && settings.prediction_type === 'epsilon') {
    refuseTogether(name, 'rescale_betas_zero_snr', 'prediction_type epsilon');
  }
}
