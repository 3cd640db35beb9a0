// DPM-Solver++ of orders 1 to 3, as an equation without noise or with (SDE); diffusers' DPMSolverMultistepScheduler.
//
// Sources: C. Lu et al., "DPM-Solver++" (arXiv 2211.01095), equations 8 to 13 and appendix B (third order, SDE).
import { z } from 'zod';
import { combine, weightedSum } from '../tensor/math.js';
import type { Tensor } from '../tensor/tensor.js';
import { flag, readConfig, refuseTogether, unsupported } from './config.js';
import { dynamicShift, refuseSigmas, shiftSigma } from './flow-schedule.js';
import {
  checkMultistep,
  createSpacer,
  type Level,
  levelOf,
  multistepFields,
  multistepRun,
  type Remembered,
} from './multistep.js';
import { createSchedulerFrom, denoisedWeights, type StepRule } from './run.js';
import type { Scheduler } from './scheduler.js';
import { linspace, rampOf } from './spacing.js';

const className = 'DPMSolverMultistepScheduler';
const { fround } = Math;
/** Below this many steps `lower_order_final` ends with lower orders. */
const fewSteps = 15;

const schema = z.object({
  ...multistepFields,
  // The other names are those of classes whose configs are read for this one; diffusers takes them as the default.
  algorithm_type: z
    .enum(['dpmsolver++', 'sde-dpmsolver++', 'deis'])
    .default('dpmsolver++')
    .transform((type) => (type === 'deis' ? 'dpmsolver++' : type)),
  solver_type: z
    .enum(['midpoint', 'heun', 'logrho', 'bh1', 'bh2'])
    .default('midpoint')
    .transform((type) => (type === 'heun' ? type : 'midpoint')),
  euler_at_final: flag(),
  time_shift_type: unsupported('exponential'),
  thresholding: unsupported(false),
  use_lu_lambdas: unsupported(false),
  lambda_min_clipped: unsupported(Number.NEGATIVE_INFINITY),
  variance_type: unsupported(),
});
type Settings = z.infer<typeof schema>;

/** Returns the scheduler that a scheduler_config.json describes. Throws BundleError. */
export function createDpmSolverMultistep(config: unknown): Scheduler {
  const settings = readConfig(className, schema, config);
  const ramp = rampOf(className, settings);
  checkMultistep(className, settings, ramp);
  const { use_flow_sigmas: isFlow, num_train_timesteps: trainSteps } = settings;
  if (isFlow && ramp !== undefined) refuseTogether(className, `use_${ramp}_sigmas`, 'use_flow_sigmas');
  const { space, lowest } = createSpacer(settings, ramp, settings.beta_schedule !== 'squaredcos_cap_v2');

  return createSchedulerFrom(className, settings.prediction_type, trainSteps, (options) => {
    refuseSigmas(className, options);
    const spaced = isFlow ? spaceFlow(settings, options.steps, options.sequenceLength) : space(options.steps);
    const last = settings.final_sigmas_type === 'zero' ? 0 : lowest;
    const sigmas = [...spaced.sigmas, last].map(fround);
    const levels = sigmas.map((sigma) => levelOf(sigma, isFlow));
    return {
      ...multistepRun({ timesteps: spaced.timesteps, sigmas }, levels),
      start: () => createRule(settings, levels),
    };
  });
}

function spaceFlow(settings: Settings, steps: number, sequenceLength: number | undefined) {
  const { num_train_timesteps: trainSteps, flow_shift: shift, use_dynamic_shifting: isDynamic } = settings;
  const factor = isDynamic ? Math.exp(dynamicShift(className, settings, sequenceLength)) : shift;
  const ascending = linspace(1, 1 / trainSteps, steps + 1).map((alpha) => shiftSigma(1 - alpha, factor));
  const sigmas = ascending.reverse().slice(0, -1);
  return { sigmas, timesteps: sigmas.map((sigma) => Math.trunc(sigma * trainSteps)) };
}

function createRule(settings: Settings, levels: readonly Level[]): StepRule {
  const { prediction_type: predictionType, solver_order: solverOrder } = settings;
  const isStochastic = settings.algorithm_type === 'sde-dpmsolver++';
  const calls = levels.length - 1;
  const endsLower = settings.lower_order_final && calls < fewSteps;
  const endsWithEuler = settings.euler_at_final || endsLower || settings.final_sigmas_type === 'zero';
  /** Latest first. */
  const memory: Remembered[] = [];

  return (call, prediction, latents, noise) => {
    const from = levels[call] as Level;
    const to = levels[call + 1] as Level;
    const [keep, change] = denoisedWeights(predictionType, from.alpha, from.sigma);
    const denoised = combine(keep, latents, change, prediction);
    memory.unshift({ denoised, level: from });
    memory.length = Math.min(memory.length, solverOrder);

    let order = memory.length;
    // A ramp may end on the lowest level twice; nothing moves between the two, and higher orders would divide by it.
    if ((call === calls - 1 && endsWithEuler) || to.lambda === from.lambda) order = 1;
    else if (call === calls - 2 && endsLower) order = Math.min(order, 2);
    const weights = denoisedShares(memory.slice(0, order), to, isStochastic, settings.solver_type === 'heun');
    const terms: [number, Tensor][] = memory.slice(0, order).map((past, i) => [weights[i] as number, past.denoised]);
    const decay = Math.exp(from.lambda - to.lambda);
    terms.push([(to.sigma / from.sigma) * (isStochastic ? decay : 1), latents]);
    if (isStochastic) terms.push([to.sigma * Math.sqrt(1 - decay ** 2), noise.normal(latents.shape)]);
    return { latents: weightedSum(...terms), denoised };
  };
}

/** Returns the weight of each remembered clean prediction, latest first; as many as the method's order. */
function denoisedShares(memory: readonly Remembered[], to: Level, isStochastic: boolean, isHeun: boolean): number[] {
  const [now, before, earlier] = memory.map(({ level }) => level.lambda);
  const h = to.lambda - (now as number);
  // With noise the equation is the same with twice the step.
  const span = isStochastic ? 2 * h : h;
  const decay = Math.expm1(-span);
  const first = -to.alpha * decay;
  if (before === undefined) return [first];

  // Weights of the derivatives of the clean prediction, and these as differences of what is remembered.
  const slopeWeight = isHeun || earlier !== undefined ? to.alpha * (decay / span + 1) : first / 2;
  const r0 = ((now as number) - before) / h;
  if (earlier === undefined) return [first + slopeWeight / r0, -slopeWeight / r0];
  const r1 = (before - earlier) / h;
  const share = r0 / (r0 + r1);
  // diffusers adds the half for the SDE, where the expansion in h would take it off; equal to diffusers, not to the paper.
  const bendWeight = -to.alpha * ((decay + span) / span ** 2 + (isStochastic ? 0.5 : -0.5));
  const nearer = slopeWeight * (1 + share) + bendWeight / (r0 + r1);
  const farther = -slopeWeight * share - bendWeight / (r0 + r1);
  return [first + nearer / r0, -nearer / r0 + farther / r1, -farther / r1];
}
