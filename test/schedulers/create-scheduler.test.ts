import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BundleError, InvalidOptionError } from '../../src/errors.js';
import { createScheduler, schedulerNames, withScheduler } from '../../src/schedulers/create-scheduler.js';
import { createTensor } from '../../src/tensor/tensor.js';
import { readGoldens } from '../tensor/goldens.js';
import { everyScheduler } from './every-scheduler.js';

const { metadata } = await readGoldens('schedulers.safetensors');

test('an unknown class is refused, naming those that are known', () => {
  for (const config of [{ _class_name: 'HeunScheduler' }, {}, { _class_name: 'toString' }]) {
    assert.throws(() => createScheduler(config), {
      name: 'BundleError',
      message: /DDIMScheduler.*UniPCMultistepScheduler/,
    });
    assert.throws(() => withScheduler(config, 'euler'), BundleError);
  }
  for (const config of [null, [], 'DDIMScheduler', undefined])
    assert.throws(() => createScheduler(config), BundleError);
});

test('keys that no class reads are ignored, as in diffusers', () => {
  const config = { _class_name: 'DDIMScheduler', _diffusers_version: '0.6.0', skip_prk_steps: true, anything: [1] };
  assert.equal(createScheduler(config).className, 'DDIMScheduler');
});

const unimplemented: [className: string, option: string, value: unknown][] = [
  ['DDIMScheduler', 'thresholding', true],
  ['LCMScheduler', 'thresholding', true],
  ['DPMSolverMultistepScheduler', 'use_lu_lambdas', true],
  ['DPMSolverMultistepScheduler', 'algorithm_type', 'dpmsolver'],
  ['DPMSolverMultistepScheduler', 'lambda_min_clipped', -5.1],
  ['DPMSolverMultistepScheduler', 'variance_type', 'learned'],
  ['UniPCMultistepScheduler', 'predict_x0', false],
  ['UniPCMultistepScheduler', 'solver_p', {}],
  ['UniPCMultistepScheduler', 'solver_order', 4],
  ['EulerDiscreteScheduler', 'interpolation_type', 'log_linear'],
  ['EulerDiscreteScheduler', 'timestep_type', 'continuous'],
  ['EulerAncestralDiscreteScheduler', 'prediction_type', 'sample'],
  ['FlowMatchEulerDiscreteScheduler', 'invert_sigmas', true],
  ['FlowMatchEulerDiscreteScheduler', 'stochastic_sampling', true],
  ['PNDMScheduler', 'skip_prk_steps', false],
  ['DDIMScheduler', 'beta_schedule', 'sigmoid'],
  ['DDIMScheduler', 'num_train_timesteps', 1e9],
  ['DDIMScheduler', 'num_train_timesteps', '1000'],
  ['DDIMScheduler', 'beta_start', -0.1],
];
for (const [className, option, value] of unimplemented) {
  test(`${className} refuses ${option} ${JSON.stringify(value)} by name`, () => {
    assert.throws(
      () => createScheduler({ _class_name: className, skip_prk_steps: true, [option]: value }),
      (error) => error instanceof BundleError && error.message.includes(`Expected ${option} of ${className} to be`),
    );
  });
}

const contradictions: Record<string, object> = {
  'two ramps': { _class_name: 'EulerDiscreteScheduler', use_karras_sigmas: true, use_beta_sigmas: true },
  'flow prediction without flow levels': { _class_name: 'UniPCMultistepScheduler', prediction_type: 'flow_prediction' },
  'a ramp beyond the levels of a flow': {
    _class_name: 'UniPCMultistepScheduler',
    use_flow_sigmas: true,
    use_exponential_sigmas: true,
  },
  'karras levels of a flow in DPM-Solver': {
    _class_name: 'DPMSolverMultistepScheduler',
    use_flow_sigmas: true,
    use_karras_sigmas: true,
  },
  'a shift by length without flow levels': { _class_name: 'UniPCMultistepScheduler', use_dynamic_shifting: true },
  'a terminal shift without flow levels': { _class_name: 'UniPCMultistepScheduler', shift_terminal: 0.1 },
  'a high order over an endless step': { _class_name: 'UniPCMultistepScheduler', lower_order_final: false },
  'predicted noise where there is only noise': { _class_name: 'DDIMScheduler', rescale_betas_zero_snr: true },
};
for (const [name, config] of Object.entries(contradictions)) {
  test(`${name} is refused`, () => {
    assert.throws(() => createScheduler(config), BundleError);
  });
}

test('null stands for the default', () => {
  const nulls = { trained_betas: null, use_karras_sigmas: null, lambda_min_clipped: null };
  const scheduler = createScheduler({ _class_name: 'DPMSolverMultistepScheduler', ...nulls });
  assert.equal(scheduler.className, 'DPMSolverMultistepScheduler');
});

test('a schedule that depends on length asks for it', () => {
  const scheduler = createScheduler({ _class_name: 'FlowMatchEulerDiscreteScheduler', use_dynamic_shifting: true });
  assert.throws(() => scheduler.schedule({ steps: 4 }), { name: 'InvalidOptionError', message: /sequenceLength/ });
});

test('given sigmas are checked, and refused where they would be ignored', () => {
  const euler = createScheduler({ _class_name: 'FlowMatchEulerDiscreteScheduler' });
  for (const sigmas of [
    [1, 0.5],
    [1, 0.5, 0.5],
    [2, 1, 0.5],
    [1, 0.5, 0],
    [0.1, 0.2, 0.3],
  ]) {
    assert.throws(() => euler.schedule({ steps: 3, sigmas }), InvalidOptionError);
  }
  for (const name of [
    'DDIM',
    'UniPC',
    'flow DPM-Solver++',
    'Euler',
    'ancestral Euler',
    'LCM',
    'PNDM',
    'CogVideoX DDIM',
  ]) {
    const scheduler = createScheduler(everyScheduler[name]);
    assert.throws(() => scheduler.schedule({ steps: 2, sigmas: [1, 0.5] }), InvalidOptionError);
  }
});

test('an offset beyond training and more steps than a model was distilled for are refused', () => {
  const ddim = createScheduler({ _class_name: 'DDIMScheduler', steps_offset: 1 });
  assert.throws(() => ddim.schedule({ steps: 1000 }), InvalidOptionError);
  assert.throws(() => createScheduler({ _class_name: 'LCMScheduler' }).schedule({ steps: 51 }), InvalidOptionError);
});

test('trailing spacing has as many timesteps as steps, whatever the count', () => {
  const scheduler = createScheduler({ _class_name: 'DDIMScheduler', timestep_spacing: 'trailing' });
  for (let steps = 1; steps <= 1000; steps++) {
    const { timesteps } = scheduler.schedule({ steps });
    assert.equal(timesteps.length, steps);
    assert.ok((timesteps.at(-1) as number) >= 0);
  }
});

const {
  config,
  levels,
}: {
  config: object;
  levels: Record<string, { className: string; timesteps: number[]; alphas: number[] }>;
} = JSON.parse(metadata.switched ?? '{}');

for (const [name, golden] of Object.entries(levels)) {
  test(`${name} keeps betas, prediction type and spacing as from_config does`, () => {
    const scheduler = withScheduler(config, name);
    assert.equal(scheduler.className, golden.className);
    assert.equal(scheduler.predictionType, 'v_prediction');
    const schedule = scheduler.schedule({ steps: 5 });
    assert.deepEqual(schedule.timesteps, golden.timesteps);
    const [one, zero] = [createTensor([1], Float32Array.of(1)), createTensor([1])];
    for (const [call, alpha] of golden.alphas.entries()) {
      const [clean = 0] = schedule.addNoise(one, zero, call).data;
      const [noise = 0] = schedule.addNoise(zero, one, call).data;
      assert.ok(Math.abs(clean ** 2 / (clean ** 2 + noise ** 2) - alpha) < 1e-6);
    }
  });
}

test('flow schedulers keep the shift under either of its names', () => {
  const euler = { _class_name: 'FlowMatchEulerDiscreteScheduler', shift: 5 };
  const uniPc = {
    _class_name: 'UniPCMultistepScheduler',
    use_flow_sigmas: true,
    prediction_type: 'flow_prediction',
    flow_shift: 5,
  };
  const expected = createScheduler(uniPc).schedule({ steps: 6 });
  assert.deepEqual(withScheduler(euler, 'unipc').schedule({ steps: 6 }).sigmas, expected.sigmas);
  for (const name of ['euler', 'flow-euler']) {
    assert.deepEqual(
      withScheduler(uniPc, name).schedule({ steps: 6 }).sigmas,
      createScheduler(euler).schedule({ steps: 6 }).sigmas,
    );
  }
  assert.deepEqual(
    withScheduler(euler, 'heun').schedule({ steps: 6 }).timesteps,
    createScheduler({ ...euler, _class_name: 'FlowMatchHeunDiscreteScheduler' }).schedule({ steps: 6 }).timesteps,
  );
  for (const name of ['dpm++', 'dpm++sde']) {
    const scheduler = withScheduler(euler, name);
    assert.equal(scheduler.predictionType, 'flow');
    assert.deepEqual(
      scheduler.schedule({ steps: 6 }).sigmas,
      createScheduler({ ...uniPc, _class_name: 'DPMSolverMultistepScheduler' }).schedule({ steps: 6 }).sigmas,
    );
  }
});

test('the name of a model’s own class leaves its levels alone', () => {
  const own: [string, string][] = [
    ['flow-euler', 'flow euler'],
    ['heun', 'flow heun'],
    ['unipc', 'flow UniPC'],
    ['unipc', 'UniPC'],
    ['ddim', 'CogVideoX DDIM'],
    ['euler', 'Euler'],
    ['lcm', 'LCM'],
  ];
  for (const [name, kind] of own) {
    const [replaced, original] = [withScheduler(everyScheduler[kind], name), createScheduler(everyScheduler[kind])];
    assert.equal(replaced.className, original.className);
    const [ours, theirs] = [replaced.schedule({ steps: 4 }), original.schedule({ steps: 4 })];
    assert.deepEqual([ours.sigmas, ours.timesteps], [theirs.sigmas, theirs.timesteps]);
  }
});

test('names that make no sense for a model are refused, naming those that do', () => {
  const flowNames = /: euler, heun, unipc, dpm\+\+, dpm\+\+sde, flow-euler, flow-heun, got/;
  for (const name of ['ddim', 'lcm', 'pndm', 'euler-a', 'plms', '']) {
    assert.throws(() => withScheduler(everyScheduler['flow euler'], name), {
      name: 'InvalidOptionError',
      message: flowNames,
    });
  }
  for (const name of ['heun', 'flow-euler', 'flow-heun']) {
    assert.throws(() => withScheduler(everyScheduler.DDIM, name), {
      name: 'InvalidOptionError',
      message: /: euler, unipc, dpm\+\+, dpm\+\+sde, ddim, euler-a, lcm, pndm, got/,
    });
  }
  assert.throws(() => withScheduler(everyScheduler['CogVideoX DDIM'], 'euler'), { message: /: dpm\+\+sde, ddim, got/ });
  const bySequence = { ...everyScheduler['flow euler'], use_dynamic_shifting: true, shift_terminal: 0.1 };
  assert.throws(() => withScheduler(bySequence, 'dpm++'), { message: /: euler, unipc, flow-euler, got/ });
  assert.throws(() => withScheduler({ ...everyScheduler.DDIM, prediction_type: 'sample' }, 'pndm'), InvalidOptionError);
});

test('where a run is given its levels, those names are left that take them', () => {
  const names = ['euler', 'heun', 'unipc', 'flow-euler', 'flow-heun'];
  for (const name of schedulerNames) {
    const make = () => withScheduler(everyScheduler['flow euler'], name, { givesSigmas: true });
    if (names.includes(name)) assert.ok(make().schedule({ steps: 2, sigmas: [1, 0.5] }).timesteps.length >= 2, name);
    else assert.throws(make, { name: 'InvalidOptionError', message: new RegExp(`: ${names.join(', ')}, got`) });
  }
});

test('every short name suits some model', () => {
  for (const name of schedulerNames) {
    const made = [everyScheduler['flow euler'], everyScheduler.DDIM].filter((candidate) => {
      try {
        return withScheduler(candidate, name).schedule({ steps: 3 }).timesteps.length > 0;
      } catch (error) {
        if (error instanceof InvalidOptionError) return false;
        throw error;
      }
    });
    assert.ok(made.length > 0, name);
  }
});
