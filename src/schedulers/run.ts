// What all schedulers share: options checked, a schedule cut short by strength, steppers that count their calls.
import { expected, InvalidOptionError } from '../errors.js';
import { combine, scale } from '../tensor/math.js';
import type { Tensor } from '../tensor/tensor.js';
import type { NoiseSource, PredictionType, Schedule, ScheduleOptions, Scheduler } from './scheduler.js';

/** Returns the next latents and the clean ones implied, for the given call of the whole run. */
export type StepRule = (
  call: number,
  prediction: Tensor,
  latents: Tensor,
  noise: NoiseSource,
) => { latents: Tensor; denoised: Tensor };

/** A run of all steps, before strength shortens it. Calls count from its start. */
export interface Run {
  readonly timesteps: readonly number[];
  readonly sigmas: readonly number[];
  readonly initNoiseSigma: number;
  /** Network calls that each step but the last takes. Default 1. */
  readonly callsPerStep?: number;
  /** Returns what clean latents and noise are multiplied by at a call. */
  noiseWeights(call: number): readonly [clean: number, noise: number];
  /** Returns what the network's input is multiplied by at a call. Without it, input passes as it is. */
  inputScale?(call: number): number;
  /** Returns the rule for one pass; what it must remember between calls lives in it alone. */
  start(): StepRule;
}

/** Returns a scheduler whose `schedule` is checked, planned and shortened. */
export function createSchedulerFrom(
  className: string,
  predictionType: PredictionType,
  trainSteps: number,
  plan: (options: ScheduleOptions) => Run,
): Scheduler {
  const schedule = (options: ScheduleOptions): Schedule => {
    const { steps, strength = 1 } = options;
    if (!Number.isInteger(steps) || steps < 1 || steps > trainSteps) {
      throw new InvalidOptionError(expected('steps', `a whole number from 1 to ${trainSteps}`, steps));
    }
    if (!(strength > 0 && strength <= 1)) {
      throw new InvalidOptionError(expected('strength', 'above 0 and at most 1', strength));
    }
    const kept = Math.min(Math.trunc(steps * strength), steps);
    if (kept === 0) {
      const advice = `Use a strength of at least ${Math.ceil(1000 / steps) / 1000}, or more steps.`;
      throw new InvalidOptionError(expected('steps · strength', 'at least 1', steps * strength, advice));
    }
    const run = plan(options);
    return shorten(run, (steps - kept) * (run.callsPerStep ?? 1));
  };
  return Object.freeze({ className, predictionType, schedule });
}

function shorten(run: Run, first: number): Schedule {
  const timesteps = Object.freeze(run.timesteps.slice(first));
  const checkCall = (call: number): void => {
    if (!Number.isInteger(call) || call < 0 || call >= timesteps.length) {
      throw new InvalidOptionError(expected('call', `from 0 to ${timesteps.length - 1}`, call));
    }
  };
  return Object.freeze({
    timesteps,
    sigmas: Object.freeze(run.sigmas.slice(first)),
    initNoiseSigma: run.initNoiseSigma,
    addNoise(latents: Tensor, noise: Tensor, call: number): Tensor {
      checkCall(call);
      const [cleanWeight, noiseWeight] = run.noiseWeights(first + call);
      return combine(cleanWeight, latents, noiseWeight, noise);
    },
    start() {
      const rule = run.start();
      let call = 0;
      return {
        scaleInput(latents: Tensor): Tensor {
          checkCall(call);
          return run.inputScale === undefined ? latents : scale(run.inputScale(first + call), latents);
        },
        step(prediction: Tensor, latents: Tensor, noise: NoiseSource) {
          checkCall(call);
          return rule(first + call++, prediction, latents, noise);
        },
      };
    },
  });
}

/** Returns what latents and prediction are multiplied by to give clean latents, where latents = α·clean + σ·noise. */
export function denoisedWeights(
  type: PredictionType,
  alpha: number,
  sigma: number,
): readonly [latents: number, prediction: number] {
  if (type === 'epsilon') return [1 / alpha, -sigma / alpha];
  if (type === 'v_prediction') return [alpha, -sigma];
  return type === 'flow' ? [1, -sigma] : [0, 1];
}

/** Returns a list's element. Throws RangeError outside it: the schedulers index only what they have built. */
export function at(values: readonly number[], index: number): number {
  const value = values[index];
  if (value === undefined) throw new RangeError(`Expected index to be below ${values.length}, got ${index}.`);
  return value;
}
