// What holds for every scheduler, whatever its method.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { InvalidOptionError } from '../../src/errors.js';
import { createScheduler } from '../../src/schedulers/create-scheduler.js';
import type { Schedule, Stepper } from '../../src/schedulers/scheduler.js';
import { TorchRandom } from '../../src/tensor/random.js';
import { createTensor, type Tensor } from '../../src/tensor/tensor.js';
import { everyScheduler } from './every-scheduler.js';
import { predict } from './fixed-network.js';

const shape = [1, 2, 2, 3, 5];

/** One pass under way, a call at a time. */
class Pass {
  latents: Tensor;
  denoised: Tensor | undefined;
  call = 0;
  readonly #schedule: Schedule;
  readonly #stepper: Stepper;
  readonly #random: TorchRandom;

  constructor(schedule: Schedule, seed: number) {
    this.#schedule = schedule;
    this.#stepper = schedule.start();
    this.#random = new TorchRandom(seed);
    this.latents = schedule.addNoise(createTensor(shape), this.#random.normal(shape), 0);
  }

  /** Moves one call on; returns whether there was one. */
  next(): boolean {
    const timestep = this.#schedule.timesteps[this.call];
    if (timestep === undefined) return false;
    const prediction = predict(this.#stepper.scaleInput(this.latents), timestep);
    Object.assign(this, this.#stepper.step(prediction, this.latents, this.#random));
    this.call++;
    return true;
  }

  finish(): this {
    while (this.next());
    return this;
  }
}

for (const [name, config] of Object.entries(everyScheduler)) {
  describe(name, () => {
    const scheduler = createScheduler(config);

    test('the same seed gives the same bytes, another seed others', () => {
      const schedule = scheduler.schedule({ steps: 5 });
      const first = new Pass(schedule, 1).finish().latents;
      assert.deepEqual(new Pass(scheduler.schedule({ steps: 5 }), 1).finish().latents, first);
      assert.notDeepEqual(new Pass(schedule, 2).finish().latents, first);
    });

    test('passes of one schedule that take turns do not disturb each other', () => {
      const schedule = scheduler.schedule({ steps: 4 });
      const alone = [1, 2].map((seed) => new Pass(schedule, seed).finish().latents);
      const passes = [new Pass(schedule, 1), new Pass(schedule, 2)];
      while (passes.map((pass) => pass.next()).includes(true));
      assert.deepEqual(
        passes.map((pass) => pass.latents),
        alone,
      );
    });

    test('a step writes to none of its inputs and hands out buffers of its own', () => {
      const schedule = scheduler.schedule({ steps: 6 });
      const stepper = schedule.start();
      const random = new TorchRandom(3);
      let latents = random.normal(shape);
      const handedOut = new Set<Float32Array>();
      for (const timestep of schedule.timesteps) {
        const prediction = predict(latents, timestep);
        const before = [prediction.data.slice(), latents.data.slice()];
        stepper.scaleInput(latents);
        const next = stepper.step(prediction, latents, random);
        assert.deepEqual([prediction.data, latents.data], before);
        for (const { data } of [next.latents, next.denoised]) {
          assert.ok(!handedOut.has(data) && data !== prediction.data && data !== latents.data);
          handedOut.add(data);
        }
        latents = next.latents;
      }
    });

    test('runs of 1, 2, 3 and 17 steps end finite, with one level more than calls', () => {
      for (const steps of [1, 2, 3, 17]) {
        const schedule = scheduler.schedule({ steps });
        assert.equal(schedule.sigmas.length, schedule.timesteps.length + 1);
        const pass = new Pass(schedule, 4).finish();
        assert.deepEqual(pass.latents.shape, shape);
        for (const { data } of [pass.latents, pass.denoised as Tensor]) assert.ok(data.every(Number.isFinite));
      }
    });

    test('levels fall, and timesteps with them', () => {
      const { sigmas, timesteps } = scheduler.schedule({ steps: 9 });
      for (const list of [sigmas, timesteps]) {
        assert.ok(list.every((value, i) => i === 0 || value <= (list[i - 1] as number)));
        assert.ok((list[0] as number) > (list.at(-1) as number));
      }
    });

    test('noise counts for more at a higher level', () => {
      const schedule = scheduler.schedule({ steps: 5 });
      const ones = createTensor([1], Float32Array.of(1));
      const zeros = createTensor([1]);
      const share = (call: number): number => {
        const [clean = 0] = schedule.addNoise(ones, zeros, call).data;
        const [noise = 0] = schedule.addNoise(zeros, ones, call).data;
        return noise / clean;
      };
      assert.ok(share(0) > 3 * share(schedule.timesteps.length - 1));
    });

    test('strength runs the end of the whole schedule', () => {
      const whole = scheduler.schedule({ steps: 10 });
      const part = scheduler.schedule({ steps: 10, strength: 0.35 });
      const count = part.timesteps.length;
      assert.ok(count < whole.timesteps.length / 2 + 1);
      assert.deepEqual(part.timesteps, whole.timesteps.slice(-count));
      assert.deepEqual(part.sigmas, whole.sigmas.slice(-count - 1));
      assert.ok(new Pass(part, 5).finish().latents.data.every(Number.isFinite));
    });

    test('steps and strengths that leave nothing to run are refused', () => {
      for (const steps of [0, -1, 1.5, Number.NaN, 1001]) {
        assert.throws(() => scheduler.schedule({ steps }), InvalidOptionError);
      }
      for (const strength of [0, -0.1, 1.1, Number.NaN, 0.19]) {
        assert.throws(() => scheduler.schedule({ steps: 5, strength }), InvalidOptionError);
      }
      assert.ok(scheduler.schedule({ steps: 5, strength: 0.2 }).timesteps.length > 0);
    });

    test('a step beyond the last is refused', () => {
      const schedule = scheduler.schedule({ steps: 2 });
      const stepper = schedule.start();
      const random = new TorchRandom(0);
      let latents = random.normal(shape);
      for (const timestep of schedule.timesteps) {
        latents = stepper.step(predict(latents, timestep), latents, random).latents;
      }
      assert.throws(() => stepper.step(latents, latents, random), InvalidOptionError);
      assert.throws(() => schedule.addNoise(latents, latents, schedule.timesteps.length), InvalidOptionError);
    });

    test('what a scheduler hands out cannot be changed', () => {
      const schedule = scheduler.schedule({ steps: 3 });
      for (const list of [schedule.timesteps, schedule.sigmas]) {
        assert.throws(() => Object.assign(list, { 0: 5 }), TypeError);
      }
      assert.throws(() => Object.assign(scheduler, { className: '' }), TypeError);
    });
  });
}
