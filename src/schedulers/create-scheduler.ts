// Makes the scheduler that a scheduler_config.json of diffusers names, or another one for the same model.
import { BundleError, expected, InvalidOptionError } from '../errors.js';
import { createDdim } from './ddim.js';
import { createCogVideoXDdim } from './ddim-cogvideox.js';
import { createCogVideoXDpm } from './dpm-cogvideox.js';
import { createDpmSolverMultistep } from './dpm-solver-multistep.js';
import { createEulerAncestralDiscrete } from './euler-ancestral-discrete.js';
import { createEulerDiscrete } from './euler-discrete.js';
import { createFlowMatchEulerDiscrete } from './flow-match-euler-discrete.js';
import { createFlowMatchHeunDiscrete } from './flow-match-heun-discrete.js';
import { createLcm } from './lcm.js';
import { createPndm } from './pndm.js';
import type { Scheduler } from './scheduler.js';
import { createUniPcMultistep } from './unipc-multistep.js';

const creators: Readonly<Record<string, (config: unknown) => Scheduler>> = {
  CogVideoXDDIMScheduler: createCogVideoXDdim,
  CogVideoXDPMScheduler: createCogVideoXDpm,
  DDIMScheduler: createDdim,
  DPMSolverMultistepScheduler: createDpmSolverMultistep,
  EulerAncestralDiscreteScheduler: createEulerAncestralDiscrete,
  EulerDiscreteScheduler: createEulerDiscrete,
  FlowMatchEulerDiscreteScheduler: createFlowMatchEulerDiscrete,
  FlowMatchHeunDiscreteScheduler: createFlowMatchHeunDiscrete,
  LCMScheduler: createLcm,
  PNDMScheduler: createPndm,
  UniPCMultistepScheduler: createUniPcMultistep,
};

type Config = Readonly<Record<string, unknown>>;

/** Returns the scheduler of a parsed scheduler_config.json. Throws BundleError for what it names or asks for in vain. */
export function createScheduler(config: unknown): Scheduler {
  const { className, create } = readClass(config);
  if (create === undefined) {
    const known = `one of ${Object.keys(creators).join(', ')}`;
    throw new BundleError(expected('_class_name in scheduler_config.json', known, className));
  }
  return create(config);
}

/** Short names of schedulers, for `withScheduler`. */
export const schedulerNames = [
  'euler',
  'heun',
  'unipc',
  'dpm++',
  'dpm++sde',
  'ddim',
  'euler-a',
  'lcm',
  'pndm',
  'flow-euler',
  'flow-heun',
] as const;

/** A short name of a scheduler. */
export type SchedulerName = (typeof schedulerNames)[number];

/** What a model's noise levels are like; those that are shifted towards noise are known to classes of their own only. */
type Kind = 'flow' | 'diffusion' | 'shifted';

/** What replaces the class of a config, by the kind of model it is for. */
const replacements: Readonly<Record<Kind, Partial<Record<SchedulerName, Config>>>> = {
  flow: {
    euler: { _class_name: 'FlowMatchEulerDiscreteScheduler' },
    'flow-euler': { _class_name: 'FlowMatchEulerDiscreteScheduler' },
    heun: { _class_name: 'FlowMatchHeunDiscreteScheduler' },
    'flow-heun': { _class_name: 'FlowMatchHeunDiscreteScheduler' },
    unipc: { _class_name: 'UniPCMultistepScheduler' },
    'dpm++': { _class_name: 'DPMSolverMultistepScheduler', algorithm_type: 'dpmsolver++' },
    'dpm++sde': { _class_name: 'DPMSolverMultistepScheduler', algorithm_type: 'sde-dpmsolver++' },
  },
  shifted: {
    ddim: { _class_name: 'CogVideoXDDIMScheduler' },
    'dpm++sde': { _class_name: 'CogVideoXDPMScheduler' },
  },
  diffusion: {
    euler: { _class_name: 'EulerDiscreteScheduler' },
    'euler-a': { _class_name: 'EulerAncestralDiscreteScheduler' },
    unipc: { _class_name: 'UniPCMultistepScheduler' },
    'dpm++': { _class_name: 'DPMSolverMultistepScheduler', algorithm_type: 'dpmsolver++' },
    'dpm++sde': { _class_name: 'DPMSolverMultistepScheduler', algorithm_type: 'sde-dpmsolver++' },
    ddim: { _class_name: 'DDIMScheduler' },
    lcm: { _class_name: 'LCMScheduler' },
    pndm: { _class_name: 'PNDMScheduler', skip_prk_steps: true },
  },
};

/** Settings that shape a flow's noise levels, and the classes that know them; elsewhere they would be lost in silence. */
const flowSettings: Readonly<Record<string, readonly string[]>> = {
  use_dynamic_shifting: ['FlowMatchEulerDiscreteScheduler', 'UniPCMultistepScheduler', 'DPMSolverMultistepScheduler'],
  shift_terminal: ['FlowMatchEulerDiscreteScheduler', 'UniPCMultistepScheduler'],
  use_karras_sigmas: [],
  use_exponential_sigmas: [],
  use_beta_sigmas: [],
};

/** Classes whose runs may be given σ, as a model's manifest may ask for. diffusers' DPM-Solver++ takes none either. */
const sigmaTakers = ['FlowMatchEulerDiscreteScheduler', 'FlowMatchHeunDiscreteScheduler', 'UniPCMultistepScheduler'];

/**
 * Returns the named scheduler for the model that `config` is for, with its betas, prediction type and shift: what diffusers'
 * `from_config` keeps. For a flow model `shift` and `flow_shift` stand for each other. With `givesSigmas` its runs are given
 * σ. Throws InvalidOptionError for a name that makes no sense for the model, naming those that do.
 */
export function withScheduler(config: unknown, name: string, { givesSigmas = false } = {}): Scheduler {
  const { className, create, settings } = readClass(config);
  if (create === undefined) return createScheduler(config);
  const fitting = fittingNames(className, settings, givesSigmas);
  const kind = kindOf(className, settings);
  const replacement = fitting.includes(name as SchedulerName) ? replacements[kind][name as SchedulerName] : undefined;
  if (replacement === undefined) {
    const rule = `one that suits a model of ${className}: ${fitting.join(', ')}`;
    throw new InvalidOptionError(expected('scheduler', rule, name));
  }
  const target = String(replacement._class_name);
  if (target === className) return create({ ...settings, ...replacement, _class_name: target });
  return createScheduler({ ...settings, ...(kind === 'flow' ? carryFlow(settings) : {}), ...replacement });
}

/** Returns the names that make sense for a model. */
function fittingNames(className: string, settings: Config, givesSigmas: boolean): SchedulerName[] {
  const kind = kindOf(className, settings);
  const candidates = replacements[kind];
  return schedulerNames.filter((name) => {
    const target = candidates[name]?._class_name;
    if (target === undefined || (givesSigmas && !sigmaTakers.includes(String(target)))) return false;
    if (target === className || kind === 'shifted') return true;
    if (kind === 'flow') {
      return Object.entries(flowSettings).every(([key, classes]) => !settings[key] || classes.includes(String(target)));
    }
    const isCleanPredicted = settings.prediction_type === 'sample';
    return !(isCleanPredicted && (target === 'PNDMScheduler' || target === 'EulerAncestralDiscreteScheduler'));
  });
}

function kindOf(className: string, settings: Config): Kind {
  if (className.startsWith('CogVideoX')) return 'shifted';
  const isFlow =
    className.startsWith('FlowMatch') ||
    settings.use_flow_sigmas === true ||
    settings.prediction_type === 'flow_prediction';
  return isFlow ? 'flow' : 'diffusion';
}

/** Returns the settings that make every flow class run at the noise levels of the one that `settings` are for. */
function carryFlow(settings: Config): Config {
  const shift = settings.shift ?? settings.flow_shift ?? 1;
  return { use_flow_sigmas: true, prediction_type: 'flow_prediction', shift, flow_shift: shift };
}

function readClass(config: unknown): {
  className: string;
  create: ((config: unknown) => Scheduler) | undefined;
  settings: Config;
} {
  if (typeof config !== 'object' || config === null || Array.isArray(config)) {
    throw new BundleError(expected('scheduler_config.json', 'an object', config));
  }
  const settings = config as Config;
  const { _class_name: name } = settings;
  const className = typeof name === 'string' ? name : '';
  const create = Object.hasOwn(creators, className) ? creators[className] : undefined;
  return { className, create, settings };
}
