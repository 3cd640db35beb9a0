// Euler's method with fresh noise at each step; diffusers' EulerAncestralDiscreteScheduler.
//
// Source: K. Crowson, k-diffusion, sample_euler_ancestral; the split of σ follows Y. Song et al. (arXiv 2011.13456), section 4.
import { z } from 'zod';
import { combine, weightedSum } from '../tensor/math.js';
import { flag, predictionField, readConfig } from './config.js';
import { unscaledDenoisedWeights, unscaledRun } from './euler-discrete.js';
import { refuseSigmas } from './flow-schedule.js';
import { noiseFields, trainingSigmas } from './noise-schedule.js';
import { at, createSchedulerFrom, type Run } from './run.js';
import type { ScheduleOptions, Scheduler } from './scheduler.js';
import { interpolate, spaceTimesteps, spacingFields } from './spacing.js';

const className = 'EulerAncestralDiscreteScheduler';
const { fround } = Math;

const schema = z.object({
  ...noiseFields(),
  ...spacingFields('linspace'),
  prediction_type: predictionField(['epsilon', 'v_prediction'], 'epsilon'),
  rescale_betas_zero_snr: flag(),
});

/** Returns the scheduler that a scheduler_config.json describes. Throws BundleError. */
export function createEulerAncestralDiscrete(config: unknown): Scheduler {
  const settings = readConfig(className, schema, config);
  const training = trainingSigmas(settings);

  const plan = (options: ScheduleOptions): Run => {
    refuseSigmas(className, options);
    const timesteps = spaceTimesteps(settings, options.steps).map(fround);
    const levels = [...timesteps.map((timestep) => fround(interpolate(training, timestep))), 0];
    return {
      ...unscaledRun(settings, timesteps, levels),
      start: () => (call, prediction, latents, noise) => {
        const from = at(levels, call);
        const to = at(levels, call + 1);
        const added = Math.sqrt((to ** 2 * (from ** 2 - to ** 2)) / from ** 2);
        const down = Math.sqrt(to ** 2 - added ** 2);
        const [keep, change] = unscaledDenoisedWeights(settings.prediction_type, from);
        const ratio = (down - from) / from;
        return {
          latents: weightedSum(
            [1 + ratio * (1 - keep), latents],
            [-ratio * change, prediction],
            [added, noise.normal(latents.shape)],
          ),
          denoised: combine(keep, latents, change, prediction),
        };
      },
    };
  };
  return createSchedulerFrom(className, settings.prediction_type, settings.num_train_timesteps, plan);
}
