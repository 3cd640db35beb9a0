import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createScheduler } from '../../src/schedulers/create-scheduler.js';
import type { ScheduleOptions } from '../../src/schedulers/scheduler.js';
import { combine } from '../../src/tensor/math.js';
import { TorchRandom } from '../../src/tensor/random.js';
import { slice, type Tensor } from '../../src/tensor/tensor.js';
import { readGoldens } from '../tensor/goldens.js';
import { predict } from './fixed-network.js';

interface Case {
  config: { _class_name: string };
  steps: number;
  strength?: number;
  sequence?: number;
  sigmas?: number[];
  /** Where diffusers' own float32 rounding is worse than what the others are held to. */
  tolerance?: number;
}

const { tensors, metadata } = await readGoldens('schedulers.safetensors');
const cases: Case[] = JSON.parse(metadata.cases ?? '[]');
const seeds: { noise: number; clean: number } = JSON.parse(metadata.seeds ?? '{}');
/** Fails when an element is off by more than the tolerance, relative to max(1, |golden|). */
function compare(actual: ArrayLike<number>, golden: Float32Array, name: string, tolerance: number): void {
  assert.equal(actual.length, golden.length, `length of ${name}`);
  let worst = 0;
  for (const [i, value] of golden.entries()) {
    const error = Math.abs((actual[i] as number) - value) / Math.max(1, Math.abs(value));
    assert.ok(Number.isFinite(error), `${name}[${i}] is ${actual[i]}`);
    worst = Math.max(worst, error);
  }
  assert.ok(worst <= tolerance, `${name} is off by ${worst}`);
}

function optionsOf({ steps, strength, sequence, sigmas }: Case): ScheduleOptions {
  return {
    steps,
    ...(strength === undefined ? {} : { strength }),
    ...(sequence === undefined ? {} : { sequenceLength: sequence }),
    ...(sigmas === undefined ? {} : { sigmas }),
  };
}

assert.ok(cases.length > 120);
for (const [index, golden] of cases.entries()) {
  const { _class_name: className, ...config } = golden.config;
  test(`${className} ${JSON.stringify({ ...config, ...optionsOf(golden) })} runs as in diffusers`, () => {
    const array = (name: string): Tensor => tensors.get(`${index}/${name}`) ?? assert.fail(`no golden ${name}`);
    const assertClose = (actual: ArrayLike<number>, expected: Float32Array, name: string): void => {
      compare(actual, expected, name, golden.tolerance ?? 1e-5);
    };
    const shape = array('noised').shape.slice(1);
    const schedule = createScheduler(golden.config).schedule(optionsOf(golden));
    assertClose(schedule.timesteps, array('timesteps').data, 'timesteps');
    const sigmas = tensors.get(`${index}/sigmas`);
    if (sigmas !== undefined) assertClose(schedule.sigmas, sigmas.data, 'sigmas');
    assertClose([schedule.initNoiseSigma], array('scale').data, 'initNoiseSigma');

    const random = new TorchRandom(seeds.noise);
    const noise = random.normal(shape);
    const clean = new TorchRandom(seeds.clean).normal(shape);
    for (const call of schedule.timesteps.keys()) {
      const noised = schedule.addNoise(clean, noise, call);
      assertClose(noised.data, slice(array('noised'), 0, call, call + 1).data, `noised latents of call ${call}`);
    }

    const stepper = schedule.start();
    let latents =
      golden.strength === undefined
        ? combine(schedule.initNoiseSigma, noise, 0, noise)
        : schedule.addNoise(clean, noise, 0);
    for (const [call, timestep] of schedule.timesteps.entries()) {
      const next = stepper.step(predict(stepper.scaleInput(latents), timestep), latents, random);
      latents = next.latents;
      assertClose(latents.data, slice(array('latents'), 0, call, call + 1).data, `latents after call ${call}`);
      const denoised = tensors.get(`${index}/denoised`);
      if (denoised !== undefined) {
        assertClose(next.denoised.data, slice(denoised, 0, call, call + 1).data, `clean latents of call ${call}`);
      }
    }
  });
}
