// Pseudo numerical methods: linear multistep of up to fourth order (PLMS); diffusers' PNDMScheduler with skip_prk_steps.
//
// Source: L. Liu et al., "Pseudo numerical methods for diffusion models on manifolds" (arXiv 2202.09778), equations 11 to 14.
// The second call repeats the first step with the mean of both predictions, so that a run takes one call more than steps.
import { z } from 'zod';
import { combine, weightedSum } from '../tensor/math.js';
import type { Tensor } from '../tensor/tensor.js';
import { flag, predictionField, readConfig } from './config.js';
import { alphaRun, noiseWeights, stepRatio, type VisitedAlphas, visitAlphas, type Weights } from './ddim.js';
import { refuseSigmas } from './flow-schedule.js';
import { cumulativeAlphas, noiseFields } from './noise-schedule.js';
import { at, createSchedulerFrom, denoisedWeights, type Run, type StepRule } from './run.js';
import type { PredictionType, ScheduleOptions, Scheduler } from './scheduler.js';
import { spaceWholeTimesteps, spacingFields } from './spacing.js';

const className = 'PNDMScheduler';

const schema = z.object({
  ...noiseFields(),
  ...spacingFields('leading'),
  prediction_type: predictionField(['epsilon', 'v_prediction'], 'epsilon'),
  set_alpha_to_one: flag(),
  skip_prk_steps: z.literal(true),
});

/** Predictions that the fourth order looks back on. */
const mostRemembered = 3;
/** Shares of the predictions, latest first, by how many there are (Adams and Bashforth). */
const multistepShares: readonly (readonly number[])[] = [
  [1],
  [3 / 2, -1 / 2],
  [23 / 12, -16 / 12, 5 / 12],
  [55 / 24, -59 / 24, 37 / 24, -9 / 24],
];
/** Shares when the first step is made again. */
const repeatShares: readonly number[] = [1 / 2, 1 / 2];

/** Returns the scheduler that a scheduler_config.json describes. Throws BundleError. */
export function createPndm(config: unknown): Scheduler {
  const settings = readConfig(className, schema, config);
  const alphas = cumulativeAlphas(settings);
  const { prediction_type: predictionType, num_train_timesteps: trainSteps } = settings;
  const plan = (options: ScheduleOptions): Run => {
    refuseSigmas(className, options);
    const [first = 0, ...others] = spaceWholeTimesteps(settings, options.steps);
    const timesteps = [first, ...others.slice(0, 1), ...others];
    const ratio = stepRatio(trainSteps, options.steps);
    const visited = visitAlphas(timesteps, ratio, alphas, settings.set_alpha_to_one);
    return { ...alphaRun(visited), start: () => createRule(visited, ratio, predictionType) };
  };
  return createSchedulerFrom(className, predictionType, trainSteps, plan);
}

function createRule(visited: VisitedAlphas, ratio: number, predictionType: PredictionType): StepRule {
  /** Predictions of earlier calls, latest first. */
  const memory: Tensor[] = [];
  let begin: Tensor | undefined;
  let done = 0;
  // A run that strength shortens starts the count anew, as in diffusers, though its first timesteps may not repeat.
  return (call, prediction, latents) => {
    const [keep, change] = denoisedWeights(predictionType, ...visited.weights(call));
    const denoised = combine(keep, latents, change, prediction);
    const timestep = at(visited.timesteps, call);
    const isRepeat = done === 1;
    const predictions = [prediction, ...memory];
    if (!isRepeat) memory.unshift(prediction);
    memory.length = Math.min(memory.length, mostRemembered);
    if (done === 0) begin = latents;
    done++;

    const from = isRepeat ? timestep + ratio : timestep;
    const shares = isRepeat ? repeatShares : (multistepShares[predictions.length - 1] as readonly number[]);
    const start = isRepeat && begin !== undefined ? begin : latents;
    const [latentWeight, noiseWeight] = transfer(
      predictionType,
      visited.weightsOf(from),
      visited.weightsOf(from - ratio),
    );
    const next = weightedSum(
      [latentWeight, start],
      ...shares.map((share, i): [number, Tensor] => [noiseWeight * share, predictions[i] as Tensor]),
    );
    return { latents: next, denoised };
  };
}

/** Returns what latents and the blended prediction are multiplied by to reach the next level (equation 11). */
function transfer(
  predictionType: PredictionType,
  [alpha, sigma]: Weights,
  [nextAlpha, nextSigma]: Weights,
): readonly [latents: number, prediction: number] {
  const factor = -(nextAlpha ** 2 - alpha ** 2) / (alpha ** 2 * nextSigma + alpha * sigma * nextAlpha);
  const [noiseKeep, noiseChange] = noiseWeights(predictionType, alpha, sigma);
  return [nextAlpha / alpha + factor * noiseKeep, factor * noiseChange];
}
