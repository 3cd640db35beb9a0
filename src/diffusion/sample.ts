// Latents of a clip of any length: windows one after the other (bounded memory) or all at every step (joint).
import { expected, InvalidOptionError, throwIfCancelled } from '../errors.js';
import { previewFrame } from '../networks/latent-preview.js';
import { isSecondDenoisers } from '../networks/manifest.js';
import type { DenoiserCall, Model, PromptEmbeds } from '../networks/model.js';
import { linearSigmas } from '../schedulers/flow-schedule.js';
import type { NoiseSource, Scheduler } from '../schedulers/scheduler.js';
import { combine } from '../tensor/math.js';
import type { TorchRandom } from '../tensor/random.js';
import { axis, filled, lengthOf, sizeOf, slice, type Tensor } from '../tensor/tensor.js';
import { buildCondition, constrainTo, keepFrames, tell } from './conditions.js';
import { denoise, type Predict } from './denoise.js';
import { type Guidance, guide, isGuided } from './guidance.js';
import { drawLatents, sourceNoise } from './posterior.js';
import type { RunContext } from './progress.js';
import type { RunNoise } from './run-noise.js';
import { gather, type SourcePiece, sourceWindows } from './source-windows.js';
import { type Begin, fillFront, type Start, sliceStart } from './start.js';
import { type CacheSetting, CallCount, foretelling } from './step-cache.js';
import { addWeighted, divideFrames, jointPredict, planWindows, type Window } from './windows.js';

/** A prompt and how much it counts at each latent frame. */
export interface TimedPrompt {
  readonly prompt: PromptEmbeds;
  /** Returns the weight at a latent frame of the clip; those of all prompts sum to 1. Undefined counts as 1 everywhere. */
  readonly weightAt?: ((frame: number) => number) | undefined;
}

/** What a clip's latents are made from. */
export interface Sampling {
  readonly model: Model;
  readonly scheduler: Scheduler;
  readonly steps: number;
  /** Below 1, the run starts from the source noised to that share of the schedule. */
  readonly strength: number;
  readonly guidance: Guidance;
  /** The scale that a model is told as a number, where it takes one. */
  readonly toldGuidance?: number | undefined;
  readonly prompts: readonly TimedPrompt[];
  readonly negative: PromptEmbeds;
  /** 'stream' makes one window after the other and holds one; 'joint' blends all windows at every step. */
  readonly windows: 'stream' | 'joint';
  /** Which network calls are foretold instead of made. Default 'off'. */
  readonly cache?: CacheSetting | undefined;
  /** Whether windows of one frame all draw the same noise, so that pictures along a path or a clip don't flicker. Default false. */
  readonly isSteady?: boolean | undefined;
  /** Frames a second of the clip. */
  readonly frameRate: number;
  /** Noise of the run. */
  readonly noise: RunNoise;
}

/** One stretch of latents to make, and what is known about it. */
interface Stretch extends Window, Start {
  /** [1, C, t, h, w]. */
  readonly shape: readonly number[];
  readonly noise: Tensor;
  readonly random: NoiseSource;
}

/** Yields the latents of a clip of `shape` [1, C, t, h, w] in pieces along time. Throws InvalidOptionError for a clip of several
 * windows that has frames in front. */
export async function* sampleLatents(
  sampling: Sampling,
  shape: readonly number[],
  start: Start | Begin,
  context: RunContext,
): AsyncGenerator<Tensor> {
  const begin = typeof start === 'function' ? start : () => start;
  const total = shape[axis.time] as number;
  const windows = clipWindows(sampling.model, total);
  if (typeof start !== 'function' && start.lead !== undefined) {
    if (windows.length === 1) yield await sampleWithLead(sampling, shape, start, start.lead, context);
    else
      throw new InvalidOptionError(
        expected(
          'latent frames of a clip with references',
          `at most ${sampling.model.manifest.window.latentFrames}`,
          total,
          'Ask for fewer frames.',
        ),
      );
    return;
  }
  if (sampling.windows === 'joint' || windows.length === 1) {
    const random = sampling.noise.startWindow(0);
    yield await sampleFilled(sampling, begin(random.random), { start: 0, end: total }, shape, random, context);
    return;
  }
  let whole: Start | undefined;
  const pieces = windows.map((window) => ({
    window,
    shape: shape.with(axis.time, window.end - window.start),
    begin(random: TorchRandom) {
      whole ??= begin(random);
      return sliceStart(whole, window);
    },
  }));
  yield* sampleStream(sampling, fromArray(pieces), context);
}

/** Makes a clip together with the frames in front of it, and returns the clip. */
async function sampleWithLead(
  sampling: Sampling,
  shape: readonly number[],
  start: Start,
  lead: number,
  context: RunContext,
): Promise<Tensor> {
  const end = (shape[axis.time] as number) + lead;
  const random = sampling.noise.startWindow(0);
  const whole = shape.with(axis.time, end);
  const stretch = { ...start, start: 0, end, shape: whole, noise: start.noise ?? random.normal(whole), random };
  const latents = await sampleStretch(sampling, stretch, [{ start: 0, end }], context);
  return slice(latents, axis.time, lead, end);
}

/** Yields latents made from a source that comes in pieces, as many as it has; holds about two windows when streaming.
 * The run starts from the source, noised. Where a piece has a mask, masked-out positions are kept, and at strength 1 the run
 * starts from noise alone. */
export async function* sampleFromSource(
  sampling: Sampling,
  source: AsyncIterable<SourcePiece>,
  follows: boolean,
  context: RunContext,
): AsyncGenerator<Tensor> {
  const { manifest } = sampling.model;
  const beginFrom =
    (piece: SourcePiece): Begin =>
    (random) => {
      const { keep, greyed } = piece;
      const fromNoise = keep !== undefined && sampling.strength === 1;
      // As in diffusers, nothing is drawn for a source that is not looked at.
      const latents = fromNoise && greyed !== undefined ? piece.latents : drawLatents(manifest, piece, random);
      const start = { source: fromNoise ? undefined : latents, follow: follows ? latents : undefined };
      const isByFrame = manifest.latent.temporalCompression === 1;
      const noise = isByFrame || greyed !== undefined ? sourceNoise(manifest, latents.shape, random) : undefined;
      if (keep === undefined) return { ...start, noise };
      if (greyed === undefined) return { ...start, noise, known: { latents, mask: keep } };
      return { ...start, noise, told: tell(manifest, drawLatents(manifest, greyed, random), keep) };
    };
  if (sampling.windows === 'joint') {
    const whole = await gather(source);
    if (whole !== undefined) yield* sampleLatents(sampling, whole.latents.shape, beginFrom(whole), context);
    return;
  }
  const { latentFrames, overlap } = manifest.window;
  const pieces = sourceWindows(source, latentFrames, overlap, (piece) => ({
    shape: piece.latents.shape,
    begin: beginFrom(piece),
  }));
  yield* sampleStream({ ...sampling, isSteady: true }, pieces, context);
}

/** A window of a clip that is made window by window. */
interface WindowPiece {
  readonly window: Window;
  /** [1, C, t, h, w] of the window. */
  readonly shape: readonly number[];
  readonly begin: Begin;
}

/** Makes windows in turn; each keeps the frames that it shares with the one before. */
async function* sampleStream(
  sampling: Sampling,
  pieces: AsyncIterable<WindowPiece>,
  context: RunContext,
): AsyncGenerator<Tensor> {
  let previous: { window: Window; latents: Tensor } | undefined;
  let index = 0;
  const drawsAnew = sampling.isSteady !== true || sampling.model.manifest.window.latentFrames > 1;
  for await (const { window, shape, begin } of pieces) {
    throwIfCancelled(context.signal);
    const random = sampling.noise.startWindow(drawsAnew ? index : 0);
    const start = begin(random.random);
    let { known } = start;
    let shared = 0;
    if (previous !== undefined) shared = previous.window.end - window.start;
    if (previous !== undefined && shared > 0) {
      const frames = lengthOf(previous.latents, axis.time);
      known = keepFrames(known, shape, slice(previous.latents, axis.time, frames - shared, frames), 0);
    }
    const latents = await sampleFilled(sampling, { ...start, known }, window, shape, random, context);
    yield slice(latents, axis.time, shared, lengthOf(latents, axis.time));
    previous = { window, latents };
    index++;
  }
}

/** Makes one stretch, filled up in front to a length that the model takes, and cuts off what was put there. */
async function sampleFilled(
  sampling: Sampling,
  start: Start,
  span: Window,
  shape: readonly number[],
  random: NoiseSource,
  context: RunContext,
): Promise<Tensor> {
  const { model } = sampling;
  const frames = span.end - span.start;
  const lacking = filledLength(model, frames) - frames;
  const filledShape = shape.with(axis.time, frames + lacking);
  const { noise = random.normal(filledShape), ...filled } = lacking === 0 ? start : fillFront(start, lacking);
  const stretch = { ...filled, start: span.start - lacking, end: span.end, shape: filledShape, noise, random };
  const latents = await sampleStretch(sampling, stretch, clipWindows(model, frames + lacking), context);
  return lacking === 0 ? latents : slice(latents, axis.time, lacking, frames + lacking);
}

/** Makes one stretch at once; with several windows, blended at every step. */
async function sampleStretch(
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
    ...(model.manifest.defaults.sigmas === 'linear' ? { sigmas: linearSigmas(steps) } : {}),
  });
  const { known, noise } = stretch;
  const constrain = known === undefined ? undefined : constrainTo(known, schedule, noise);
  let latents = combine(schedule.initNoiseSigma, noise, 0, noise);
  if (stretch.source !== undefined) {
    latents = schedule.addNoise(stretch.source, noise, 0);
    // What an earlier window has made is not what the source has there.
    if (constrain !== undefined) latents = constrain(latents, 0);
  }
  const calls = schedule.timesteps.length;
  const predict = foretelling(
    createPredict(sampling, stretch, windows, calls, context),
    sampling.cache ?? 'off',
    calls,
    (call) => {
      const isSecond = isSecondDenoisers(model.manifest, schedule.timesteps[call] as number);
      return `${isGuided(sampling.guidance, call, calls)} ${isSecond}`;
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

/** Returns the prediction over a stretch: guided, blended over windows, and over prompts that change with time. */
function createPredict(
  sampling: Sampling,
  stretch: Stretch,
  windows: readonly Window[],
  calls: number,
  context: RunContext,
): Predict {
  const { model, guidance: asked, negative, frameRate } = sampling;
  const inWindow = async (window: Window, latents: Tensor, timestep: number, call: number): Promise<Tensor> => {
    const { known, told, follow, control, imageEmbeds } = stretch;
    const given = sliceStart({ known, told, follow, control }, window);
    const condition = {
      guidance: sampling.toldGuidance,
      imageEmbeds,
      frameRate,
      controlLatents: given.control?.latents,
      controlScale: given.control === undefined ? undefined : filled([1], given.control.scale),
      ...buildCondition(model.manifest, given),
    };
    const predict = (prompt: PromptEmbeds) => run(model, { latents, timestep, prompt, ...condition }, context);
    const conditional = await blendPrompts(sampling.prompts, stretch.start + window.start, latents, predict);
    const isSecond = isSecondDenoisers(model.manifest, timestep);
    const guidance = isSecond ? { ...asked, scale: asked.scale2 ?? asked.scale } : asked;
    if (!isGuided(guidance, call, calls)) return conditional;
    return guide(conditional, await predict(negative), guidance);
  };
  if (windows.length > 1) return jointPredict(windows, inWindow);
  return (latents, timestep, call) =>
    inWindow({ start: 0, end: lengthOf(latents, axis.time) }, latents, timestep, call);
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

function clipWindows(model: Model, total: number): Window[] {
  const { latentFrames, overlap } = model.manifest.window;
  return planWindows(total, filledLength(model, latentFrames), overlap);
}

/** Returns the latent frames that the model is given for that many. */
function filledLength({ manifest }: Model, frames: number): number {
  const { multiple = 1 } = manifest.window;
  return Math.ceil(frames / multiple) * multiple;
}

async function* fromArray<T>(items: readonly T[]): AsyncGenerator<T> {
  yield* items;
}
