// One config of each kind of scheduler, for the tests that hold for all of them.

const flow = { use_flow_sigmas: true, prediction_type: 'flow_prediction', flow_shift: 3 };

/** Configs by a name for the test's title. */
export const everyScheduler: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  'flow euler': { _class_name: 'FlowMatchEulerDiscreteScheduler', shift: 3 },
  'flow heun': { _class_name: 'FlowMatchHeunDiscreteScheduler', shift: 3 },
  'flow UniPC': { _class_name: 'UniPCMultistepScheduler', ...flow },
  'flow UniPC of order 3': { _class_name: 'UniPCMultistepScheduler', ...flow, solver_order: 3 },
  'flow UniPC that ends on one level twice': {
    _class_name: 'UniPCMultistepScheduler',
    ...flow,
    solver_order: 3,
    lower_order_final: false,
    final_sigmas_type: 'sigma_min',
  },
  'flow DPM-Solver++': { _class_name: 'DPMSolverMultistepScheduler', ...flow },
  UniPC: { _class_name: 'UniPCMultistepScheduler' },
  'DPM-Solver++': { _class_name: 'DPMSolverMultistepScheduler' },
  'DPM-Solver++ of order 3': { _class_name: 'DPMSolverMultistepScheduler', solver_order: 3 },
  'SDE DPM-Solver++': { _class_name: 'DPMSolverMultistepScheduler', algorithm_type: 'sde-dpmsolver++' },
  DDIM: { _class_name: 'DDIMScheduler', clip_sample: false },
  'CogVideoX DDIM': {
    _class_name: 'CogVideoXDDIMScheduler',
    prediction_type: 'v_prediction',
    timestep_spacing: 'trailing',
  },
  'CogVideoX DPM-Solver++': {
    _class_name: 'CogVideoXDPMScheduler',
    prediction_type: 'v_prediction',
    timestep_spacing: 'trailing',
  },
  Euler: { _class_name: 'EulerDiscreteScheduler' },
  'ancestral Euler': { _class_name: 'EulerAncestralDiscreteScheduler' },
  LCM: { _class_name: 'LCMScheduler' },
  PNDM: { _class_name: 'PNDMScheduler', skip_prk_steps: true },
};
