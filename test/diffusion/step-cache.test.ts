import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { denoise, type Predict } from '../../src/diffusion/denoise.js';
import { type CacheSetting, CallCount, foretelling } from '../../src/diffusion/step-cache.js';
import { createScheduler } from '../../src/schedulers/create-scheduler.js';
import { distance, norm } from '../../src/tensor/math.js';
import { TorchRandom } from '../../src/tensor/random.js';
import { createTensor, type Tensor } from '../../src/tensor/tensor.js';

const shape = [1, 4, 3, 8, 8];
const flow = createScheduler({ _class_name: 'FlowMatchEulerDiscreteScheduler', shift: 1 });
const dataDeviation = 0.5;

/** The exact flow prediction for Gaussian data: E[noise - x0 | x] at x = (1 - s)·x0 + s·noise. */
async function exactFlow(latents: Tensor, timestep: number): Promise<Tensor> {
  const sigma = timestep / 1000;
  const variance = (1 - sigma) ** 2 * dataDeviation ** 2 + sigma ** 2;
  const factor = (sigma - (1 - sigma) * dataDeviation ** 2) / variance;
  return { shape: latents.shape, data: latents.data.map((x) => factor * x) };
}

async function run(setting: CacheSetting, { scheduler = flow, steps = 30, predict = exactFlow as Predict } = {}) {
  const noise = new TorchRandom(1);
  let latents = noise.normal(shape);
  const schedule = scheduler.schedule({ steps });
  const count = new CallCount();
  const calls = schedule.timesteps.length;
  const made: number[] = [];
  const watched: Predict = (x, timestep, call) => {
    made.push(call);
    return predict(x, timestep, call);
  };
  const cached = foretelling(watched, setting, calls, () => true, count);
  for await (const state of denoise({ predict: cached, schedule, latents, noise })) latents = state.latents;
  assert.deepEqual([count.made, count.made + count.saved], [made.length, calls]);
  return { latents, made, calls, share: count.saved / calls };
}

describe('foretelling', () => {
  it('makes every call when off, and at a threshold of 0, with the same result bit for bit', async () => {
    const off = await run('off');
    assert.equal(off.share, 0);
    assert.deepEqual((await run(0)).latents, off.latents);
  });

  it('saves more calls at a higher threshold, and stays near what all of them make', async () => {
    const whole = await run('off');
    const shares: number[] = [];
    for (const threshold of [0.05, 0.15, 0.4]) {
      const { latents, share } = await run(threshold);
      shares.push(share);
      const difference = distance(latents, whole.latents) / norm(whole.latents);
      assert.ok(difference < threshold / 3, `${difference} at ${threshold}`);
    }
    assert.ok(shares[0] !== undefined && shares[0] > 0);
    assert.deepEqual(
      shares,
      shares.toSorted((a, b) => a - b),
    );
    assert.equal(new Set(shares).size, 3, shares.join());
  });

  it('foretells a prediction that never changes exactly; makes the first three tenths, the last and each fourth in a row', async () => {
    const constant = createTensor(shape, new Float32Array(4 * 3 * 64).fill(0.25));
    const predict = async () => constant;
    const { latents, made } = await run(0.01, { predict });
    assert.deepEqual(made, [0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 20, 24, 28, 29]);
    assert.deepEqual(latents, (await run('off', { predict })).latents);
    assert.deepEqual((await run(1, { predict, steps: 4 })).made, [0, 1, 3]);
    assert.deepEqual((await run(1, { predict, steps: 1 })).made, [0]);
  });

  it('asks each time when the prediction is nothing but zeros, or jumps', async () => {
    assert.equal((await run(1, { predict: async () => createTensor(shape) })).share, 0);
    const random = new TorchRandom(2);
    assert.equal((await run(0.5, { predict: async () => random.normal(shape) })).share, 0);
  });

  it('forgets what it knows where the regime changes', async () => {
    const count = new CallCount();
    const made: number[] = [];
    const predict: Predict = async (latents, _, call) => {
      made.push(call);
      return createTensor(latents.shape, new Float32Array(latents.data.length).fill(call < 5 ? 1 : 2));
    };
    const cached = foretelling(predict, 0.5, 10, (call) => call < 5, count);
    const random = new TorchRandom(3);
    const answers: number[] = [];
    for (let call = 0; call < 10; call++) {
      answers.push((await cached(random.normal(shape), 1000 - 100 * call, call)).data[0] as number);
    }
    assert.deepEqual(made, [0, 1, 2, 5, 6, 9]);
    assert.deepEqual(answers, [1, 1, 1, 1, 1, 2, 2, 2, 2, 2]);
  });

  it('serves second-order methods, which ask twice at a time, and noisy ones', async () => {
    for (const name of ['FlowMatchHeunDiscreteScheduler', 'UniPCMultistepScheduler', 'LCMScheduler']) {
      const flowing = { prediction_type: 'flow_prediction', use_flow_sigmas: true };
      const scheduler = createScheduler({ _class_name: name, ...(name.startsWith('Uni') ? flowing : {}) });
      const { latents } = await run(0.3, { scheduler, steps: 12 });
      assert.ok(latents.data.every(Number.isFinite), name);
    }
  });
});
