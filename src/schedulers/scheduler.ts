// The contract of every scheduler: immutable, configured by diffusers' scheduler_config.json, one stepper a run.
import type { Tensor } from '../tensor/tensor.js';

/** What a network predicts, in diffusers' words; `flow` is diffusers' `flow_prediction`. */
export type PredictionType = 'epsilon' | 'v_prediction' | 'flow' | 'sample';

/** A source of standard normal noise for the schedulers that add some at each step. */
export interface NoiseSource {
  /** Returns fresh standard normal noise of that shape; the caller owns it. */
  normal(shape: readonly number[]): Tensor;
}

/** What a run asks of its noise levels. */
export interface ScheduleOptions {
  /** Number of denoising steps before `strength` shortens them, at least 1. */
  steps: number;
  /** Share of the schedule that is run, in (0, 1]: the last min(trunc(steps·strength), steps) steps. Default 1. */
  strength?: number;
  /** Latent positions that the network sees, for schedules that shift by length (dynamic shifting). */
  sequenceLength?: number;
  /**
   * Noise levels before any shift, one a step, highest first, for flow schedulers, in place of their own spacing. Some
   * families' pipelines in diffusers pass them (LTX, HunyuanVideo).
   */
  sigmas?: readonly number[];
}

/** The noise levels of one run, highest first. */
export interface Schedule {
  /** Numbers fed to the network, one a network call. A second-order method may list a value twice, as diffusers does. */
  readonly timesteps: readonly number[];
  /**
   * Noise levels, one more than `timesteps`; the last is where the run ends. For flow models the share of noise, 0 to 1; for
   * others the deviation of the noise on a clip that is not scaled down, Infinity where nothing is left of it.
   */
  readonly sigmas: readonly number[];
  /** What standard normal noise is multiplied by to start from nothing but noise. */
  readonly initNoiseSigma: number;
  /** Returns the clean latents noised to the level of the given call (0 is the first one of this schedule). */
  addNoise(latents: Tensor, noise: Tensor, call: number): Tensor;
  /** Returns a fresh stepper; steppers of one schedule never disturb each other. */
  start(): Stepper;
}

/** One run through a schedule. Each call of `step` moves one network call further. */
export interface Stepper {
  /** Returns the latents as the network wants them at this call (new tensor, or the same one when nothing changes). */
  scaleInput(latents: Tensor): Tensor;
  /** Returns the latents of the next call (new tensor) and the clean latents that this prediction implies. */
  step(prediction: Tensor, latents: Tensor, noise: NoiseSource): { latents: Tensor; denoised: Tensor };
}

/** A rule that turns predictions into less noisy latents. */
export interface Scheduler {
  /** diffusers' class name, such as `FlowMatchEulerDiscreteScheduler`. */
  readonly className: string;
  readonly predictionType: PredictionType;
  /** Returns the noise levels of one run. Throws InvalidOptionError when the options leave no step to run. */
  schedule(options: ScheduleOptions): Schedule;
}
