// One stretch of latents, from noise to the end of the schedule.
import { expected, InvalidOptionError } from '../errors.js';
import { framesToPixels } from '../media/pixels.js';
import { previewFrame } from '../networks/latent-preview.js';
import { isSecondDenoisers, type Manifest } from '../networks/manifest.js';
import type { DenoiserCall, Model, PromptEmbeds } from '../networks/model.js';
import { linearQuadraticSigmas, linearSigmas } from '../schedulers/flow-schedule.js';
import type { NoiseSource, Schedule } from '../schedulers/scheduler.js';
import { combine } from '../tensor/math.js';
import { axis, filled, lengthOf, sizeOf, slice, type Tensor } from '../tensor/tensor.js';
import { buildCondition, constrainTo } from './conditions.js';
import { type Control, type ControlClip, isControlled } from './control-clip.js';
import { denoise, type Predict } from './denoise.js';
import { frameStarts } from './geometry.js';
import { type Guidance, guide, isGuided } from './guidance.js';
import { holdNear } from './held.js';
import type { RunContext } from './progress.js';
import { releaseLate } from './release.js';
import type { Sampling, TimedPrompt } from './sampling.js';
import { type Start, sliceStart } from './start.js';
import { CallCount, foretelling } from './step-cache.js';
import { addWeighted, divideFrames, jointPredict, type Window } from './windows.js';

/** One stretch of latents to make, and what is known about it. */
export interface Stretch extends Window, Start {
  /** [1, C, t, h, w]. */
  readonly shape: readonly number[];
  readonly noise: Tensor;
  readonly random: NoiseSource;
}

/** Makes one stretch at once; with several windows, blended at every step. */
export async function sampleStretch(
  sampling: Sampling,
  stretch: Stretch,
  windows: readonly Window[],
  context: RunContext,
): Promise<Tensor> {
  const { model, scheduler, steps } = sampling;
  const strength = stretch.source === undefined ? 1 : sampling.strength;
  const schedule = scheduler.schedule({
    steps,
    strength,
    sequenceLength: sizeOf(stretch.shape.slice(2)),
    ...givenLevels(model.manifest, steps),
  });
  const { noise } = stretch;
  let latents = combine(schedule.initNoiseSigma, noise, 0, noise);
  if (stretch.source !== undefined) latents = schedule.addNoise(stretch.source, noise, 0);
  const constrain = constraint(model.manifest, stretch, schedule);
  // What an earlier window has made is not what the source has there.
  if (constrain !== undefined) latents = constrain(latents, 0);
  const calls = schedule.timesteps.length;
  const controls = await controlsOf(sampling, stretch);
  const predict = foretelling(
    createPredict(sampling, stretch, controls, windows, calls, context),
    sampling.cache ?? 'off',
    calls,
    (call) => {
      const timestep = schedule.timesteps[call] as number;
      const hasGuidance = guidanceAt(sampling, timestep, call, calls) !== undefined;
      const counting = controls.map(({ control }) => isControlled(control, call, calls));
      return `${hasGuidance} ${isSecondDenoisers(model.manifest, timestep)} ${counting}`;
    },
    context.calls ?? new CallCount(),
  );
  for await (const state of denoise({
    predict,
    schedule,
    latents,
    noise: stretch.random,
    constrain,
    signal: context.signal,
  })) {
    latents = state.latents;
    const { denoised } = state;
    context.onProgress?.({
      stage: 'denoise',
      done: state.call,
      total: state.calls,
      preview: () => previewFrame(model.manifest, denoised),
    });
  }
  return latents;
}

function givenLevels({ defaults }: Manifest, steps: number): { sigmas?: number[] } {
  if (defaults.sigmas === undefined) return {};
  return { sigmas: defaults.sigmas === 'linear' ? linearSigmas(steps) : linearQuadraticSigmas(steps) };
}

/** Returns what sees to it, before the first call and after each, that the latents have what is known and what is not due yet. */
function constraint(
  manifest: Manifest,
  stretch: Stretch,
  schedule: Schedule,
): ((latents: Tensor, call: number) => Tensor) | undefined {
  const { source, renewal, noise } = stretch;
  const keep = keepKnown(manifest, stretch, schedule);
  if (source === undefined || renewal === undefined) return keep;
  const release = releaseLate(source, renewal, schedule, noise);
  return (latents, call) => {
    const released = release(latents, call);
    return keep === undefined ? released : keep(released, call);
  };
}

function keepKnown(
  { graphs }: Manifest,
  { known, noise, source, random }: Stretch,
  schedule: Schedule,
): ((latents: Tensor, call: number) => Tensor) | undefined {
  if (known === undefined) return undefined;
  const { knownFrames, knownNoise = 0 } = graphs.denoiser;
  if (knownFrames === 'held') return holdNear(known, schedule, { share: knownNoise, source: random });
  const constrain = constrainTo(known, schedule, noise);
  return (latents, call) => (call === 0 && source === undefined ? latents : constrain(latents, call));
}

/** A control, and its pictures where they go to a net and not into latents. */
interface StretchControl {
  readonly control: Control;
  /** [1, 3, t, H, W]. */
  readonly pixels: Tensor | undefined;
}

async function controlsOf({ model, controls = [] }: Sampling, { start, end }: Window): Promise<StretchControl[]> {
  const hasNets = model.manifest.graphs.controlNets !== undefined;
  const read = async (clip: ControlClip) => (hasNets ? framesToPixels(await clip.take(start, end)) : undefined);
  return Promise.all(controls.map(async (clip) => ({ control: clip.control, pixels: await read(clip) })));
}

/** Returns how much latents count that say what is to be made: as the control does that they code, or fully. */
function scaleOfLatents([asked]: readonly StretchControl[], [counting]: readonly StretchControl[]): number {
  return asked === undefined ? 1 : (counting?.control.scale ?? 0);
}

type WindowCondition = Omit<DenoiserCall, 'latents' | 'timestep' | 'prompt'>;

/** Returns what the denoiser is given of a window at every call alike. */
function conditionOf(
  { model: { manifest }, toldGuidance, frameRate, reference }: Sampling,
  { known, told, follow, controlLatents, imageEmbeds, leadStarts }: Stretch,
  window: Window,
): WindowCondition {
  const given = sliceStart({ known, told, follow, controlLatents }, window);
  return {
    guidance: toldGuidance,
    imageEmbeds,
    reference,
    frameRate,
    frameStarts: manifest.graphs.denoiser.inputs.includes('frame_starts')
      ? frameStarts(manifest, window.end - window.start, leadStarts)
      : undefined,
    controlLatents: given.controlLatents,
    ...buildCondition(manifest, given),
  };
}

/** Returns the prediction over a stretch: guided, blended over windows, and over prompts that change with time. */
function createPredict(
  sampling: Sampling,
  stretch: Stretch,
  controls: readonly StretchControl[],
  windows: readonly Window[],
  calls: number,
  context: RunContext,
): Predict {
  const { model, negative } = sampling;
  const conditions = new Map<Window, WindowCondition>();
  const inWindow = async (window: Window, latents: Tensor, timestep: number, call: number): Promise<Tensor> => {
    const inAllCalls = conditions.get(window) ?? conditionOf(sampling, stretch, window);
    conditions.set(window, inAllCalls);
    const counting = controls.filter(({ control }) => isControlled(control, call, calls));
    const condition = {
      ...inAllCalls,
      controlScale:
        inAllCalls.controlLatents === undefined ? undefined : filled([1], scaleOfLatents(controls, counting)),
      controls: counting.flatMap(({ control: { name: kind, scale }, pixels }) =>
        pixels === undefined ? [] : { kind, scale, pixels: slice(pixels, axis.time, window.start, window.end) },
      ),
    };
    const predict = (prompt: PromptEmbeds) => run(model, { latents, timestep, prompt, ...condition }, context);
    const conditional = await blendPrompts(sampling.prompts, stretch.start + window.start, latents, predict);
    const guidance = guidanceAt(sampling, timestep, call, calls);
    return guidance === undefined ? conditional : guide(conditional, await predict(negative), guidance);
  };
  if (windows.length > 1) return jointPredict(windows, inWindow);
  return (...call) => inWindow(windows[0] as Window, ...call);
}

/** Returns the guidance of the denoiser that makes a call, or undefined where it is off. */
function guidanceAt(
  { model, guidance }: Sampling,
  timestep: number,
  call: number,
  calls: number,
): Guidance | undefined {
  const isSecond = isSecondDenoisers(model.manifest, timestep);
  const own = isSecond ? { ...guidance, scale: guidance.scale2 ?? guidance.scale } : guidance;
  return isGuided(own, call, calls) ? own : undefined;
}

function run(model: Model, call: DenoiserCall, context: RunContext): Promise<Tensor> {
  const work = () => model.denoise(call, { signal: context.signal, priority: context.priority });
  return context.clock === undefined ? work() : context.clock.time('denoise', work);
}

/** Blends one prediction a prompt by the prompts' weights at each latent frame; prompts that don't count here are not run. */
async function blendPrompts(
  prompts: readonly TimedPrompt[],
  start: number,
  latents: Tensor,
  predict: (prompt: PromptEmbeds) => Promise<Tensor>,
): Promise<Tensor> {
  const frames = lengthOf(latents, axis.time);
  const [only] = prompts;
  if (only === undefined) throw new InvalidOptionError(expected('prompts', 'at least one', 0));
  if (prompts.length === 1) return predict(only.prompt);
  const sum = { data: new Float32Array(latents.data.length), shape: latents.shape };
  const total = new Float32Array(frames);
  for (const { prompt, weightAt } of prompts) {
    // What is put in front of a clip counts as its first frame.
    const here = Float32Array.from({ length: frames }, (_, at) => weightAt?.(Math.max(0, start + at)) ?? 1);
    if (here.some((weight) => weight > 0)) addWeighted(sum, total, await predict(prompt), 0, here);
  }
  divideFrames(sum, total);
  return sum;
}
