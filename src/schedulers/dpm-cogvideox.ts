// DPM-Solver++ of second order with noise, over CogVideoX's noise levels; diffusers' CogVideoXDPMScheduler.
//
// Sources: C. Lu et al., "DPM-Solver++" (arXiv 2211.01095), equation 13 and appendix B (SDE); CogVideoX (2408.06072).
import { weightedSum } from '../tensor/math.js';
import type { Tensor } from '../tensor/tensor.js';
import { readCogVideoX } from './ddim-cogvideox.js';
import { createSchedulerFrom, denoisedWeights, type StepRule } from './run.js';
import type { Scheduler } from './scheduler.js';

/** Returns the scheduler that a scheduler_config.json describes. Throws BundleError. */
export function createCogVideoXDpm(config: unknown): Scheduler {
  const className = 'CogVideoXDPMScheduler';
  const { predictionType, trainSteps, visit } = readCogVideoX(className, config);
  return createSchedulerFrom(className, predictionType, trainSteps, (options) => {
    const { visited, run } = visit(options);

    const start = (): StepRule => {
      let before: { denoised: Tensor; lambda: number } | undefined;
      return (call, prediction, latents, noise) => {
        const [alpha, sigma] = visited.weights(call);
        const [nextAlpha, nextSigma] = visited.nextWeights(call);
        // Infinite where there is nothing but noise, and where there is none.
        const lambda = Math.log(alpha / sigma);
        const h = Math.log(nextAlpha / nextSigma) - lambda;
        const [keep, change] = denoisedWeights(predictionType, alpha, sigma);
        const denoised = weightedSum([keep, latents], [change, prediction]);
        // diffusers draws noise for the first order, throws it away, and draws again for the second.
        let fresh = noise.normal(latents.shape);
        const terms: [number, Tensor][] = [[(nextSigma / sigma) * Math.exp(-h), latents]];
        const share = -nextAlpha * Math.expm1(-2 * h);
        if (before === undefined || call === visited.timesteps.length - 1) terms.push([share, denoised]);
        else {
          const slope = h / (2 * (lambda - before.lambda));
          terms.push([share * (1 + slope), denoised], [-share * slope, before.denoised]);
          fresh = noise.normal(latents.shape);
        }
        terms.push([nextSigma * Math.sqrt(1 - Math.exp(-2 * h)), fresh]);
        before = { denoised, lambda };
        return { latents: weightedSum(...terms), denoised };
      };
    };
    return { ...run, start };
  });
}
