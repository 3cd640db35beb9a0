// What the multistep solvers of the diffusion equation share: noise levels with their half log SNR, and how they are spaced.
//
// Sources: C. Lu et al., "DPM-Solver++" (arXiv 2211.01095), section 3 (λ = ln α - ln σ, in which the equation is nearly
// linear); diffusers' scheduling_dpmsolver_multistep.py and scheduling_unipc_multistep.py.
import { z } from 'zod';
import type { Tensor } from '../tensor/tensor.js';
import { flag, predictionField, refuseTogether } from './config.js';
import { dynamicShiftFields } from './flow-schedule.js';
import { noiseFields, trainingSigmas } from './noise-schedule.js';
import { at, type Run } from './run.js';
import {
  interpolate,
  type Ramp,
  rampFields,
  rampSigmas,
  roundHalfEven,
  spaceTimesteps,
  spacingFields,
  timestepOf,
} from './spacing.js';

const { fround } = Math;

/** The fields that both classes' configs have. */
export const multistepFields = {
  ...noiseFields(),
  ...spacingFields('linspace'),
  ...rampFields,
  ...dynamicShiftFields,
  prediction_type: predictionField(['epsilon', 'v_prediction', 'flow', 'sample'], 'epsilon'),
  solver_order: z.int().min(1).max(3).default(2),
  lower_order_final: flag(true),
  use_flow_sigmas: flag(),
  flow_shift: z.number().gt(0).default(1),
  final_sigmas_type: z.enum(['zero', 'sigma_min']).default('zero'),
  rescale_betas_zero_snr: flag(),
};

/** What `multistepFields` reads. */
export type MultistepConfig = z.infer<z.ZodObject<typeof multistepFields>>;

/** Throws BundleError where settings contradict each other. */
export function checkMultistep(className: string, settings: MultistepConfig, ramp: Ramp | undefined): void {
  if (!settings.use_flow_sigmas) {
    if (settings.prediction_type === 'flow') refuseTogether(className, 'flow_prediction', 'use_flow_sigmas false');
    if (settings.use_dynamic_shifting) refuseTogether(className, 'use_dynamic_shifting', 'use_flow_sigmas false');
  } else if (ramp === 'exponential' || ramp === 'beta') {
    // Their σ goes above 1, where a flow has no clip left to scale.
    refuseTogether(className, `use_${ramp}_sigmas`, 'use_flow_sigmas');
  }
}

/** A noise level: latents are alpha·clean + sigma·noise. */
export interface Level {
  readonly alpha: number;
  readonly sigma: number;
  /** ln(alpha / sigma); Infinity at the clean end. */
  readonly lambda: number;
}

/** Returns the level of a σ of diffusers' list: a flow's own, or the noise on a clip that is not scaled down. */
export function levelOf(sigma: number, isFlow: boolean): Level {
  if (isFlow) return { alpha: 1 - sigma, sigma, lambda: Math.log(1 - sigma) - Math.log(sigma) };
  const alpha = 1 / Math.sqrt(sigma ** 2 + 1);
  return { alpha, sigma: sigma * alpha, lambda: -Math.log(sigma) };
}

/** Timesteps as whole numbers, and one more σ than those. */
export interface Spaced {
  readonly timesteps: readonly number[];
  readonly sigmas: readonly number[];
}

/**
 * Returns how runs of a variance-preserving model are spaced, and the lowest σ of training. `roundsKarras` tells whether karras
 * timesteps are rounded; those of other ramps are cut off.
 */
export function createSpacer(
  settings: MultistepConfig & { readonly sigma_min?: number | null; readonly sigma_max?: number | null },
  ramp: Ramp | undefined,
  roundsKarras: boolean,
) {
  const training = trainingSigmas(settings);
  const logSigmas = training.map((sigma) => fround(Math.log(sigma)));
  const lowest = at(training, 0);
  const highest = at(training, training.length - 1);
  const rampBetween = (kind: Ramp, steps: number): number[] => {
    return rampSigmas(kind, settings.sigma_max ?? highest, settings.sigma_min ?? lowest, steps);
  };
  const space = (steps: number): Spaced => {
    if (ramp === undefined) {
      const timesteps = spaceTimesteps(settings, steps, settings.timestep_spacing === 'trailing' ? steps : steps + 1);
      const whole = timesteps.map(roundHalfEven);
      return { timesteps: whole, sigmas: whole.map((timestep) => interpolate(training, timestep)) };
    }
    const sigmas = rampBetween(ramp, steps);
    const round = roundsKarras && ramp === 'karras' ? roundHalfEven : Math.trunc;
    return { timesteps: sigmas.map((sigma) => round(timestepOf(sigma, logSigmas))), sigmas };
  };
  return { space, rampSigmas: rampBetween, lowest };
}

/** Returns a run over those levels, but for its rule. */
export function multistepRun({ timesteps, sigmas }: Spaced, levels: readonly Level[]): Omit<Run, 'start'> {
  return {
    timesteps,
    sigmas,
    initNoiseSigma: 1,
    noiseWeights(call) {
      const { alpha, sigma } = levels[call] as Level;
      return [alpha, sigma];
    },
  };
}

/** Clean latents that the network implied at an earlier call, kept for the methods of higher order. */
export interface Remembered {
  readonly denoised: Tensor;
  readonly level: Level;
}
