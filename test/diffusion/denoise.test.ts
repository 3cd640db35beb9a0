import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { denoise } from '../../src/diffusion/denoise.js';
import { CancelledError } from '../../src/errors.js';
import { createScheduler } from '../../src/schedulers/create-scheduler.js';
import { standardDeviation } from '../../src/tensor/math.js';
import { TorchRandom } from '../../src/tensor/random.js';
import type { Tensor } from '../../src/tensor/tensor.js';

const shape = [1, 4, 3, 8, 8];
const scheduler = createScheduler({ _class_name: 'FlowMatchEulerDiscreteScheduler', shift: 1 });
/** Deviation of the data whose exact velocity field the predictions below are. */
const dataDeviation = 0.5;

/** The exact flow prediction for Gaussian data: E[noise - x0 | x] at x = (1 - s)·x0 + s·noise. */
async function exactFlow(latents: Tensor, timestep: number): Promise<Tensor> {
  const sigma = timestep / 1000;
  const variance = (1 - sigma) ** 2 * dataDeviation ** 2 + sigma ** 2;
  const factor = (sigma - (1 - sigma) * dataDeviation ** 2) / variance;
  return { shape: latents.shape, data: latents.data.map((x) => factor * x) };
}

async function run(steps: number, signal?: AbortSignal): Promise<{ latents: Tensor; calls: number[] }> {
  const noise = new TorchRandom(1);
  let latents = noise.normal(shape);
  const calls: number[] = [];
  const schedule = scheduler.schedule({ steps });
  for await (const state of denoise({ predict: exactFlow, schedule, latents, noise, signal })) {
    calls.push(state.call);
    latents = state.latents;
    assert.equal(state.calls, schedule.timesteps.length);
  }
  return { latents, calls };
}

describe('denoise', () => {
  it('takes noise to the data that the prediction stands for; half the step, half the error', async () => {
    const noise = new TorchRandom(1).normal(shape);
    const exact = dataDeviation * standardDeviation(noise);
    const error = async (steps: number) => Math.abs(standardDeviation((await run(steps)).latents) - exact);
    const ratio = (await error(50)) / (await error(100));
    assert.ok(ratio > 1.8 && ratio < 2.2, `error ratio ${ratio}`);
  });

  it('yields one state a call', async () => {
    assert.deepEqual((await run(3)).calls, [1, 2, 3]);
  });

  it('stops between calls when the signal fires', async () => {
    await assert.rejects(run(3, AbortSignal.abort()), CancelledError);
  });

  it('lets the caller constrain the latents after every step', async () => {
    const noise = new TorchRandom(2);
    const schedule = scheduler.schedule({ steps: 3 });
    const nextCalls: number[] = [];
    const constrain = (latents: Tensor, nextCall: number): Tensor => {
      nextCalls.push(nextCall);
      return { shape: latents.shape, data: new Float32Array(latents.data.length).fill(nextCall) };
    };
    let last: Tensor | undefined;
    for await (const { latents } of denoise({
      predict: exactFlow,
      schedule,
      latents: noise.normal(shape),
      noise,
      constrain,
    })) {
      last = latents;
    }
    assert.deepEqual(nextCalls, [1, 2, 3]);
    assert.ok(last?.data.every((value) => value === 3));
  });
});
