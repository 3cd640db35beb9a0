// Latents of a clip of any length: windows one after the other (bounded memory) or all at every step (joint).
import { expected, InvalidOptionError, throwIfCancelled } from '../errors.js';
import { previewFrame } from '../networks/latent-preview.js';
import { isSecondDenoisers } from '../networks/manifest.js';
import type { DenoiserCall, Model, PromptEmbeds } from '../networks/model.js';
import type { Schedule, Scheduler } from '../schedulers/scheduler.js';
import { combine } from '../tensor/math.js';
import { TorchRandom } from '../tensor/random.js';
import { axis, lengthOf, sizeOf, slice, type Tensor } from '../tensor/tensor.js';
import {
  buildCondition,
  type Condition,
  constrainTo,
  type Known,
  keepFrames,
  sliceKnown,
  sliceTold,
  type Told,
} from './conditions.js';
import { denoise, type Predict } from './denoise.js';
import { type Guidance, guide, isGuided } from './guidance.js';
import type { RunContext } from './progress.js';
import { gather, type SourcePiece, sourceWindows } from './source-windows.js';
import { type CacheSetting, CallCount, foretelling } from './step-cache.js';
import { addWeighted, divideFrames, jointPredict, planWindows, type Window } from './windows.js';

/** A prompt and how much it counts at each latent frame. */
export interface TimedPrompt {
  readonly prompt: PromptEmbeds;
  /** One weight for each latent frame of the whole clip; those of all prompts sum to 1. Undefined counts as 1 everywhere. */
  readonly weights?: Float32Array | undefined;
}

/** What a clip's latents are made from. */
export interface Sampling {
  readonly model: Model;
  readonly scheduler: Scheduler;
  readonly steps: number;
  /** Below 1, the run starts from the source noised to that share of the schedule. */
  readonly strength: number;
  readonly guidance: Guidance;
  readonly seed: number;
  readonly prompts: readonly TimedPrompt[];
  readonly negative: PromptEmbeds;
  /** 'stream' makes one window after the other and holds one; 'joint' blends all windows at every step. */
  readonly windows: 'stream' | 'joint';
  /** Which network calls are foretold instead of made. Default 'off'. */
  readonly cache?: CacheSetting | undefined;
}

/** What a clip starts from besides noise; each spans the whole clip. */
export interface Start {
  /** Latents to start from when strength is below 1. */
  readonly source?: Tensor | undefined;
  /** A source clip whose structure is followed. */
  readonly follow?: Tensor | undefined;
  /** What is kept. */
  readonly known?: Known | undefined;
  /** What only the denoiser is told of. */
  readonly told?: Told | undefined;
  /** What the image encoder makes of the pictures that the clip starts from, [1, N, D], for every frame alike. */
  readonly imageEmbeds?: Tensor | undefined;
  /** Noise to start from instead of the seed's. */
  readonly noise?: Tensor | undefined;
}

/** One stretch of latents to make, and what is known about it. */
interface Stretch extends Window, Start {
  /** [1, C, t, h, w]. */
  readonly shape: readonly number[];
  readonly noise: Tensor;
  readonly random: TorchRandom;
}

/** Yields the latents of a clip of `shape` [1, C, t, h, w] in pieces along time. */
export async function* sampleLatents(
  sampling: Sampling,
  shape: readonly number[],
  start: Start,
  context: RunContext,
): AsyncGenerator<Tensor> {
  const total = shape[axis.time] as number;
  const windows = clipWindows(sampling.model, total);
  if (sampling.windows === 'joint' || windows.length === 1) {
    const random = new TorchRandom(sampling.seed);
    const noise = start.noise ?? random.normal(shape);
    yield await sampleStretch(sampling, { ...start, start: 0, end: total, shape, noise, random }, windows, context);
    return;
  }
  const pieces = windows.map((window) => ({ window, ...sliceStart(start, window) }));
  yield* sampleStream(sampling, shape, fromArray(pieces), context);
}

/** Yields latents made from a source that comes in pieces, as many as it has; holds about two windows when streaming.
 * Below strength 1 the run starts from the source; where a piece has a mask, masked-out positions are kept. */
export async function* sampleFromSource(
  sampling: Sampling,
  source: AsyncIterable<SourcePiece>,
  follows: boolean,
  context: RunContext,
): AsyncGenerator<Tensor> {
  const start = (piece: SourcePiece): Start => ({
    source: piece.latents,
    follow: follows ? piece.latents : undefined,
    known: piece.keep === undefined ? undefined : { latents: piece.latents, mask: piece.keep },
  });
  if (sampling.windows === 'joint') {
    const whole = await gather(source);
    if (whole !== undefined) yield* sampleLatents(sampling, whole.latents.shape, start(whole), context);
    return;
  }
  const { latentFrames, overlap } = sampling.model.manifest.window;
  yield* sampleStream(sampling, undefined, sourceWindows(source, latentFrames, overlap, start), context);
}

/** Makes windows in turn; each keeps the frames that it shares with the one before. */
async function* sampleStream(
  sampling: Sampling,
  shape: readonly number[] | undefined,
  pieces: AsyncIterable<Start & { readonly window: Window }>,
  context: RunContext,
): AsyncGenerator<Tensor> {
  let previous: { window: Window; latents: Tensor } | undefined;
  let index = 0;
  for await (const { window, ...piece } of pieces) {
    throwIfCancelled(context.signal);
    const random = new TorchRandom(sampling.seed + index);
    const base = shape ?? (piece.source as Tensor).shape;
    const windowShape = base.with(axis.time, window.end - window.start);
    let known = piece.known;
    let shared = 0;
    if (previous !== undefined) {
      shared = previous.window.end - window.start;
      const frames = lengthOf(previous.latents, axis.time);
      known = keepFrames(known, windowShape, slice(previous.latents, axis.time, frames - shared, frames), 0);
    }
    const noise = piece.noise ?? random.normal(windowShape);
    const stretch = { ...piece, ...window, shape: windowShape, noise, random, known };
    const latents = await sampleStretch(sampling, stretch, [{ start: 0, end: window.end - window.start }], context);
    yield slice(latents, axis.time, shared, lengthOf(latents, axis.time));
    previous = { window, latents };
    index++;
  }
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
  const schedule = scheduler.schedule({ steps, strength, sequenceLength: sizeOf(stretch.shape.slice(2)) });
  const { known, noise } = stretch;
  let latents = startLatents(schedule, stretch, strength);
  const constrain = known === undefined ? undefined : constrainTo(known, schedule, noise);
  if (constrain !== undefined) latents = constrain(latents, 0);
  const calls = schedule.timesteps.length;
  const predict = foretelling(
    createPredict(sampling, stretch, windows, calls, context),
    sampling.cache ?? 'off',
    calls,
    (call) => isGuided(sampling.guidance, call, calls),
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

function startLatents(schedule: Schedule, stretch: Stretch, strength: number): Tensor {
  if (stretch.source !== undefined && strength < 1) return schedule.addNoise(stretch.source, stretch.noise, 0);
  return combine(schedule.initNoiseSigma, stretch.noise, 0, stretch.noise);
}

/** Returns the prediction over a stretch: guided, blended over windows, and over prompts that change with time. */
function createPredict(
  sampling: Sampling,
  stretch: Stretch,
  windows: readonly Window[],
  calls: number,
  context: RunContext,
): Predict {
  const { model, guidance: asked, negative } = sampling;
  const inWindow = async (window: Window, latents: Tensor, timestep: number, call: number): Promise<Tensor> => {
    const { known, told, follow, imageEmbeds } = stretch;
    const condition = buildCondition(model.manifest, sliceStart({ known, told, follow }, window));
    const predict = (prompt: PromptEmbeds) =>
      run(model, { latents, timestep, prompt, imageEmbeds, ...condition }, context);
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

function run(model: Model, call: DenoiserCall & Partial<Condition>, context: RunContext): Promise<Tensor> {
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
  for (const { prompt, weights } of prompts) {
    const here = weights?.subarray(start, start + frames) ?? new Float32Array(frames).fill(1);
    if (here.some((weight) => weight > 0)) addWeighted(sum, total, await predict(prompt), 0, here);
  }
  divideFrames(sum, total);
  return sum;
}

function clipWindows(model: Model, total: number): Window[] {
  const { latentFrames, overlap } = model.manifest.window;
  return planWindows(total, latentFrames, overlap);
}

function sliceStart(start: Start, { start: from, end }: Window): Start {
  const cut = (tensor: Tensor | undefined) => (tensor === undefined ? undefined : slice(tensor, axis.time, from, end));
  return {
    source: cut(start.source),
    follow: cut(start.follow),
    noise: cut(start.noise),
    known: start.known === undefined ? undefined : sliceKnown(start.known, from, end),
    told: start.told === undefined ? undefined : sliceTold(start.told, from, end),
    imageEmbeds: start.imageEmbeds,
  };
}

async function* fromArray<T>(items: readonly T[]): AsyncGenerator<T> {
  yield* items;
}
