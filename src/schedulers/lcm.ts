// Few-step sampling of latent consistency models, with fresh noise between steps; diffusers' LCMScheduler.
//
// Source: S. Luo et al., "Latent consistency models" (arXiv 2310.04378), algorithm 3 and equation 7 (boundary conditions).
import { z } from 'zod';
import { expected, InvalidOptionError } from '../errors.js';
import { clampInPlace, combine, scale } from '../tensor/math.js';
import { flag, predictionField, readConfig, unsupported } from './config.js';
import { refuseNoiseOfNothing } from './ddim.js';
import { refuseSigmas } from './flow-schedule.js';
import { noiseFields, rescaledAlphas, sigmaOf } from './noise-schedule.js';
import { at, createSchedulerFrom, denoisedWeights, type Run } from './run.js';
import type { ScheduleOptions, Scheduler } from './scheduler.js';

const className = 'LCMScheduler';
const dataVariance = 0.5 ** 2;

// timestep_spacing, steps_offset and set_alpha_to_one are keys of this class too, which no run of it uses.
const schema = z.object({
  ...noiseFields(0.00085, 0.012, 'scaled_linear'),
  prediction_type: predictionField(['epsilon', 'v_prediction', 'sample'], 'epsilon'),
  original_inference_steps: z.int().min(1).default(50),
  clip_sample: flag(),
  clip_sample_range: z.number().gt(0).default(1),
  timestep_scaling: z.number().gt(0).default(10),
  rescale_betas_zero_snr: flag(),
  thresholding: unsupported(false),
});

/** Returns the scheduler that a scheduler_config.json describes. Throws BundleError. */
export function createLcm(config: unknown): Scheduler {
  const settings = readConfig(className, schema, config);
  const { prediction_type: predictionType, num_train_timesteps: trainSteps } = settings;
  refuseNoiseOfNothing(className, settings);
  const alphas = rescaledAlphas(settings);
  const weightsAt = (timestep: number): readonly [alpha: number, sigma: number] => {
    const alpha = at(alphas, timestep);
    return [Math.sqrt(alpha), Math.sqrt(1 - alpha)];
  };

  const plan = (options: ScheduleOptions): Run => {
    refuseSigmas(className, options);
    const timesteps = spaceDistilled(trainSteps, settings.original_inference_steps, options.steps);
    return {
      timesteps,
      sigmas: [...timesteps.map((timestep) => sigmaOf(at(alphas, timestep))), 0],
      initNoiseSigma: 1,
      noiseWeights: (call) => weightsAt(at(timesteps, call)),
      start: () => (call, prediction, latents, noise) => {
        const timestep = at(timesteps, call);
        const [keep, change] = denoisedWeights(predictionType, ...weightsAt(timestep));
        const implied = combine(keep, latents, change, prediction);
        if (settings.clip_sample) clampInPlace(implied, settings.clip_sample_range);
        const square = (timestep * settings.timestep_scaling) ** 2;
        const skip = dataVariance / (square + dataVariance);
        const denoised = combine(Math.sqrt(square / (square + dataVariance)), implied, skip, latents, implied);
        if (call === timesteps.length - 1) return { latents: scale(1, denoised), denoised };
        const [nextAlpha, nextSigma] = weightsAt(at(timesteps, call + 1));
        const fresh = noise.normal(latents.shape);
        return { latents: combine(nextAlpha, denoised, nextSigma, fresh, fresh), denoised };
      },
    };
  };
  return createSchedulerFrom(className, predictionType, trainSteps, plan);
}

/** Returns timesteps out of those that the model was distilled on, spread evenly from the highest down. */
function spaceDistilled(trainSteps: number, distilledSteps: number, steps: number): number[] {
  if (steps > distilledSteps) {
    const advice = 'The model was distilled for these.';
    throw new InvalidOptionError(expected('steps', `at most ${distilledSteps}`, steps, advice));
  }
  const ratio = Math.trunc(trainSteps / distilledSteps);
  const stride = distilledSteps / steps;
  return Array.from({ length: steps }, (_, i) => (distilledSteps - Math.floor(i * stride)) * ratio - 1);
}
