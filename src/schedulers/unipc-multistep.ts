// UniPC of orders 1 to 3: each prediction also corrects the step that led to it; diffusers' UniPCMultistepScheduler.
//
// Source: W. Zhao et al., "UniPC: a unified predictor-corrector framework" (arXiv 2302.04867), algorithms 1 and 2 and
// appendix C (B(h) of two kinds), in the form that predicts clean latents. Flow levels as in diffusers from 0.37 on.
import { z } from 'zod';
import { combine, weightedSum } from '../tensor/math.js';
import type { Tensor } from '../tensor/tensor.js';
import { readConfig, refuseTogether, unsupported } from './config.js';
import { dynamicShift, givenSigmas, refuseSigmas, shiftSigma, stretchToTerminal } from './flow-schedule.js';
import { solveLinear } from './linear-system.js';
import {
  checkMultistep,
  createSpacer,
  type Level,
  levelOf,
  multistepFields,
  multistepRun,
  type Remembered,
  type Spaced,
} from './multistep.js';
import { at, createSchedulerFrom, denoisedWeights, type StepRule } from './run.js';
import type { ScheduleOptions, Scheduler } from './scheduler.js';
import { linspace, rampOf } from './spacing.js';

const className = 'UniPCMultistepScheduler';
const { fround } = Math;
/** Taken off a first σ of 1, at which nothing of the clip would be left to scale. */
const offPureNoise = 1e-6;

const schema = z.object({
  ...multistepFields,
  // The other names are those of classes whose configs are read for this one; diffusers takes them as the default.
  solver_type: z
    .enum(['bh1', 'bh2', 'midpoint', 'heun', 'logrho'])
    .default('bh2')
    .transform((type) => (type === 'bh1' ? type : 'bh2')),
  disable_corrector: z.array(z.int()).default([]),
  sigma_min: z.number().gt(0).nullish(),
  sigma_max: z.number().gt(0).nullish(),
  shift_terminal: z.number().min(0).lt(1).nullish(),
  time_shift_type: z.enum(['exponential', 'linear']).default('exponential'),
  predict_x0: unsupported(true),
  thresholding: unsupported(false),
  solver_p: unsupported(),
});
type Settings = z.infer<typeof schema>;

/** Returns the scheduler that a scheduler_config.json describes. Throws BundleError. */
export function createUniPcMultistep(config: unknown): Scheduler {
  const settings = readConfig(className, schema, config);
  const { use_flow_sigmas: isFlow, num_train_timesteps: trainSteps, final_sigmas_type: ending } = settings;
  const ramp = rampOf(className, settings);
  checkMultistep(className, settings, ramp);
  if (settings.shift_terminal && !isFlow) refuseTogether(className, 'shift_terminal', 'use_flow_sigmas false');
  if (ending === 'zero' && !settings.lower_order_final && settings.solver_order > 1) {
    // The last step is infinite in λ; a method of higher order has no value there.
    refuseTogether(className, 'final_sigmas_type zero', 'lower_order_final false');
  }
  const spacer = createSpacer(settings, ramp, true);

  const space = (options: ScheduleOptions): Spaced => {
    if (!isFlow) return spacer.space(options.steps);
    if (ramp === undefined) return spaceFlow(settings, options);
    const sigmas = spacer.rampSigmas(ramp, options.steps).map((sigma) => sigma / (sigma + 1));
    return { sigmas, timesteps: sigmas.map((sigma) => Math.trunc(sigma * trainSteps)) };
  };
  return createSchedulerFrom(className, settings.prediction_type, trainSteps, (options) => {
    if (!isFlow || ramp !== undefined) refuseSigmas(className, options);
    const spaced = space(options);
    const least = isFlow || ramp !== undefined ? at(spaced.sigmas, spaced.sigmas.length - 1) : spacer.lowest;
    const sigmas = [...spaced.sigmas, ending === 'zero' ? 0 : least].map(fround);
    const levels = sigmas.map((sigma) => levelOf(sigma, isFlow));
    return {
      ...multistepRun({ timesteps: spaced.timesteps, sigmas }, levels),
      start: () => createRule(settings, levels),
    };
  });
}

function spaceFlow(settings: Settings, options: ScheduleOptions): Spaced {
  const { num_train_timesteps: trainSteps, flow_shift, shift_terminal: terminal } = settings;
  let sigmas: readonly number[] = givenSigmas(options) ?? linspace(1, 1 / trainSteps, options.steps + 1).slice(0, -1);
  if (settings.use_dynamic_shifting) {
    const mu = dynamicShift(className, settings, options.sequenceLength);
    const factor = settings.time_shift_type === 'linear' ? mu : Math.exp(mu);
    sigmas = sigmas.map((sigma) => shiftSigma(sigma, factor));
  } else sigmas = sigmas.map((sigma) => shiftSigma(sigma, flow_shift));
  if (terminal) sigmas = stretchToTerminal(sigmas, terminal);
  const [first = 1, ...others] = sigmas;
  const visited = [Math.abs(first - 1) < offPureNoise ? first - offPureNoise : first, ...others];
  return { sigmas: visited, timesteps: visited.map((sigma) => Math.trunc(sigma * trainSteps)) };
}

function createRule(settings: Settings, levels: readonly Level[]): StepRule {
  const { prediction_type: predictionType, solver_order: solverOrder, solver_type: kind } = settings;
  const calls = levels.length - 1;
  const uncorrected = new Set(settings.disable_corrector);
  /** Latest first. */
  const memory: Remembered[] = [];
  /** Where the last step began, and its order. */
  let last: { latents: Tensor; order: number } | undefined;

  return (call, prediction, latents) => {
    const level = levels[call] as Level;
    const [keep, change] = denoisedWeights(predictionType, level.alpha, level.sigma);
    const denoised = combine(keep, latents, change, prediction);
    let corrected = latents;
    if (last !== undefined && !uncorrected.has(call - 1)) {
      corrected = advance(last.latents, memory.slice(0, last.order), level, kind, denoised);
    }
    memory.unshift({ denoised, level });
    memory.length = Math.min(memory.length, solverOrder);
    const most = settings.lower_order_final ? Math.min(solverOrder, calls - call) : solverOrder;
    const to = levels[call + 1] as Level;
    // A ramp may end on the lowest level twice; nothing moves between the two, and higher orders would divide by it.
    const order = to.lambda === level.lambda ? 1 : Math.min(most, memory.length);
    last = { latents: corrected, order };
    const next = advance(corrected, memory.slice(0, order), to, kind);
    return { latents: next, denoised };
  };
}

/**
 * Returns the latents at level `to`, from those at the level of the latest memory. With `arrived`, the clean prediction at `to`
 * itself, this is the corrector, and without it the predictor. The order is the length of `memory`, latest first.
 */
function advance(
  latents: Tensor,
  memory: readonly Remembered[],
  to: Level,
  kind: Settings['solver_type'],
  arrived?: Tensor,
): Tensor {
  const [now, ...past] = memory as [Remembered, ...Remembered[]];
  const h = to.lambda - now.level.lambda;
  const growth = Math.expm1(-h);
  const ratios = past.map(({ level }) => (level.lambda - now.level.lambda) / h);
  const shares = solveShares(h, growth, ratios, kind, arrived !== undefined);

  const scale = -to.alpha * (kind === 'bh1' ? -h : growth);
  const terms: [number, Tensor][] = past.map(({ denoised }, i) => [(scale * at(shares, i)) / at(ratios, i), denoised]);
  if (arrived !== undefined) terms.push([scale * at(shares, past.length), arrived]);
  const moved = terms.reduce((sum, [weight]) => sum + weight, 0);
  return weightedSum([to.sigma / now.level.sigma, latents], [-to.alpha * growth - moved, now.denoised], ...terms);
}

/** Returns the weights ρ of the differences from the latest clean prediction: of each older one, then of the arrived one. */
function solveShares(
  h: number,
  growth: number,
  ratios: readonly number[],
  kind: Settings['solver_type'],
  corrects: boolean,
): number[] {
  const points = corrects ? [...ratios, 1] : ratios;
  // Of a single unknown, UniPC fixes the value that the first order asks for.
  if (points.length <= 1) return points.map(() => 0.5);
  const scale = kind === 'bh1' ? -h : growth;
  const right: number[] = [];
  let phi = growth / -h - 1;
  let factorial = 1;
  for (let i = 1; i <= points.length; i++) {
    right.push((phi * factorial) / scale);
    factorial *= i + 1;
    phi = phi / -h - 1 / factorial;
  }
  const rows = right.map((_, power) => points.map((point) => point ** power));
  return solveLinear(rows, right);
}
