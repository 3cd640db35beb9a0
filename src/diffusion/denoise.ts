// THE denoise loop: noise in, one state a step out. Progress, preview, pause and cancellation are the caller's `for await`.
import { throwIfCancelled } from '../errors.js';
import type { NoiseSource, Schedule } from '../schedulers/scheduler.js';
import type { Tensor } from '../tensor/tensor.js';

/** Returns the network's prediction [1, C, t, h, w] for latents at one noise level; `call` counts the schedule's timesteps. */
export type Predict = (latents: Tensor, timestep: number, call: number) => Promise<Tensor>;

/** What one run of the loop needs. */
export interface DenoiseRun {
  readonly predict: Predict;
  readonly schedule: Schedule;
  /** Latents at the schedule's first noise level, [1, C, t, h, w]. Not written to. */
  readonly latents: Tensor;
  /** Noise for the schedulers that add some at each step. */
  readonly noise: NoiseSource;
  /** Called after each step with the latents of the next noise level; what it returns goes on. For positions that are known. */
  readonly constrain?: ((latents: Tensor, nextCall: number) => Tensor) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** The state after one step. */
export interface DenoiseState {
  /** Network calls done, from 1 on. */
  readonly call: number;
  /** Network calls of the whole run. */
  readonly calls: number;
  /** Latents at the next noise level; after the last call, the result. */
  readonly latents: Tensor;
  /** The clean latents that this step's prediction implies. */
  readonly denoised: Tensor;
}

/** Yields one state a network call. Throws CancelledError between calls when the signal fires. */
export async function* denoise(run: DenoiseRun): AsyncGenerator<DenoiseState, void, void> {
  const { schedule, predict, noise, constrain, signal } = run;
  const stepper = schedule.start();
  const calls = schedule.timesteps.length;
  let latents = run.latents;
  for (const [call, timestep] of schedule.timesteps.entries()) {
    throwIfCancelled(signal);
    const prediction = await predict(stepper.scaleInput(latents), timestep, call);
    const next = stepper.step(prediction, latents, noise);
    latents = constrain === undefined ? next.latents : constrain(next.latents, call + 1);
    yield { call: call + 1, calls, latents, denoised: next.denoised };
  }
}
