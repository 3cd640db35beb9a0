// For Gaussian data the best network and the exact path are known: latents keep their place while their deviation changes.
// Halving the step must halve the error of a first-order method, and quarter that of a second-order one.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createScheduler } from '../../src/schedulers/create-scheduler.js';
import type { PredictionType, Schedule } from '../../src/schedulers/scheduler.js';
import { scale, standardDeviation } from '../../src/tensor/math.js';
import { TorchRandom } from '../../src/tensor/random.js';
import { createTensor, type Tensor } from '../../src/tensor/tensor.js';

const dataDeviation = 0.5;
// Ten times finer than usual, so that whole timesteps hardly round the levels.
const fine = { num_train_timesteps: 10_000, beta_start: 1e-5, beta_end: 2e-3 };
const flow = { use_flow_sigmas: true, prediction_type: 'flow_prediction', num_train_timesteps: 10_000 };

interface Level {
  readonly alpha: number;
  readonly sigma: number;
}

/** Returns what one and a pure noise of one become at a call: the weights of clean latents and noise. */
function levelAt(schedule: Schedule, call: number): Level {
  const one = createTensor([1], Float32Array.of(1));
  const zero = createTensor([1]);
  return {
    alpha: schedule.addNoise(one, zero, call).data[0] as number,
    sigma: schedule.addNoise(zero, one, call).data[0] as number,
  };
}

function deviationAt({ alpha, sigma }: Level): number {
  return Math.hypot(alpha * dataDeviation, sigma);
}

/** Returns the best prediction of each kind, as a multiple of latents = alpha·clean + sigma·noise. */
function bestSlope(type: PredictionType, level: Level): number {
  const scaled = Math.hypot(level.alpha, level.sigma);
  const clean = (level.alpha * dataDeviation ** 2) / deviationAt(level) ** 2;
  const noise = (1 - level.alpha * clean) / level.sigma;
  if (type === 'epsilon') return noise;
  if (type === 'sample') return clean;
  if (type === 'flow') return noise - clean;
  return (level.alpha * noise - level.sigma * clean) / scaled;
}

function run(
  config: object,
  steps: number,
  latentsOf: (schedule: Schedule) => Tensor,
  random = new TorchRandom(0),
): Tensor {
  const scheduler = createScheduler(config);
  const schedule = scheduler.schedule({ steps });
  const stepper = schedule.start();
  let latents = latentsOf(schedule);
  for (const call of schedule.timesteps.keys()) {
    const prediction = scale(bestSlope(scheduler.predictionType, levelAt(schedule, call)), latents);
    latents = stepper.step(prediction, latents, random).latents;
  }
  return latents;
}

/** Returns how far a run that starts at 1 ends from the exact end. */
function error(config: object, steps: number): number {
  let exact = Number.NaN;
  const [end = Number.NaN] = run(config, steps, (schedule) => {
    exact = deviationAt(endOf(schedule)) / deviationAt(levelAt(schedule, 0));
    return createTensor([1], Float32Array.of(1));
  }).data;
  return Math.abs(end - exact);
}

/** Returns the level that a run ends at: clean latents, or for even steps of λ the lowest level of training. */
function endOf(schedule: Schedule): Level {
  const last = schedule.sigmas.at(-1) as number;
  const alpha = 1 / Math.hypot(1, last);
  return { alpha, sigma: last * alpha };
}

const evenSteps = { ...fine, use_exponential_sigmas: true, final_sigmas_type: 'sigma_min' };
const dpmSolver = { _class_name: 'DPMSolverMultistepScheduler', ...evenSteps };
const uniPc = { _class_name: 'UniPCMultistepScheduler', ...evenSteps };
const uncorrected = { disable_corrector: Array.from({ length: 160 }, (_, call) => call) };
const methods: [name: string, order: number, config: object][] = [
  ['flow Euler', 1, { _class_name: 'FlowMatchEulerDiscreteScheduler', num_train_timesteps: 10_000 }],
  ['flow Heun', 2, { _class_name: 'FlowMatchHeunDiscreteScheduler', num_train_timesteps: 10_000 }],
  ['Euler', 1, { _class_name: 'EulerDiscreteScheduler', ...fine }],
  ['DDIM', 1, { _class_name: 'DDIMScheduler', ...fine, clip_sample: false }],
  ['DPM-Solver++ of one prediction', 1, { ...dpmSolver, solver_order: 1 }],
  ['DPM-Solver++ of two predictions', 2, dpmSolver],
  ["DPM-Solver++ of two predictions, Heun's", 2, { ...dpmSolver, solver_type: 'heun' }],
  // Its first step is of order 1, whose error stays.
  ['DPM-Solver++ of three predictions', 2, { ...dpmSolver, solver_order: 3 }],
  ['UniPC of two predictions, without corrector', 2, { ...uniPc, ...uncorrected }],
  // The corrector is worth an order.
  ['UniPC of one prediction', 2, { ...uniPc, solver_order: 1 }],
  ['UniPC of two predictions', 3, uniPc],
  ['UniPC of two predictions, the other B(h)', 3, { ...uniPc, solver_type: 'bh1' }],
  ['flow UniPC of two predictions', 2, { _class_name: 'UniPCMultistepScheduler', ...flow }],
];
for (const [name, order, config] of methods) {
  test(`${name} is of order ${order}`, () => {
    const [coarse, halved] = [error(config, 80), error(config, 160)];
    const ratio = coarse / halved;
    assert.ok(Math.abs(ratio / 2 ** order - 1) < 0.1, `error fell from ${coarse} to ${halved}: ${ratio} times`);
  });
}

test('a third prediction makes errors smaller', () => {
  for (const solver of [dpmSolver, uniPc]) {
    assert.ok(error({ ...solver, solver_order: 3 }, 40) < error({ ...solver, solver_order: 2 }, 40) / 2);
  }
});

test('PNDM beats DDIM by far at the same number of steps', () => {
  const pndm = { _class_name: 'PNDMScheduler', ...fine, skip_prk_steps: true };
  assert.ok(error(pndm, 40) < error({ ...pndm, _class_name: 'DDIMScheduler', clip_sample: false }, 40) / 20);
});

const noisy: [name: string, config: object, steps: number][] = [
  ['ancestral Euler', { _class_name: 'EulerAncestralDiscreteScheduler', ...fine }, 200],
  ['SDE DPM-Solver++', { ...dpmSolver, final_sigmas_type: 'zero', algorithm_type: 'sde-dpmsolver++' }, 100],
];
for (const [name, config, steps] of noisy) {
  test(`${name} turns noise into data of the right deviation`, () => {
    const random = new TorchRandom(9);
    const end = run(config, steps, ({ initNoiseSigma }) => scale(initNoiseSigma, random.normal([10_000])), random);
    assert.ok(Math.abs(standardDeviation(end) / dataDeviation - 1) < 0.04, `${standardDeviation(end)}`);
  });
}
