// Latents of a clip of any length: windows one after the other (bounded memory) or all at every step (joint).
import { expected, InvalidOptionError, throwIfCancelled } from '../errors.js';
import type { Model } from '../networks/model.js';
import type { NoiseSource } from '../schedulers/scheduler.js';
import type { TorchRandom } from '../tensor/random.js';
import { axis, lengthOf, slice, type Tensor } from '../tensor/tensor.js';
import { keepFrames, tell } from './conditions.js';
import { drawLatents, sourceNoise } from './posterior.js';
import type { RunContext } from './progress.js';
import type { Sampling } from './sampling.js';
import { gather, type SourcePiece, sourceWindows } from './source-windows.js';
import { type Begin, fillFront, type Start, sliceStart } from './start.js';
import { sampleStretch } from './stretch.js';
import { planWindows, type Window } from './windows.js';

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
  if (sampling.windows === 'joint' || windows.length === 1) {
    const random = sampling.noise.startWindow(0);
    const whole = begin(random.random);
    if (whole.lead === undefined) {
      yield await sampleFilled(sampling, whole, { start: 0, end: total }, shape, random, context);
    } else {
      if (windows.length > 1) throw tooLongForLead(sampling.model, total);
      yield await sampleWithLead(sampling, shape, whole, whole.lead, random, context);
    }
    return;
  }
  let whole: Start | undefined;
  const pieces = windows.map((window) => ({
    window,
    shape: shape.with(axis.time, window.end - window.start),
    begin(random: TorchRandom) {
      whole ??= begin(random);
      if (whole.lead !== undefined) throw tooLongForLead(sampling.model, total);
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
  random: NoiseSource,
  context: RunContext,
): Promise<Tensor> {
  const end = (shape[axis.time] as number) + lead;
  const whole = shape.with(axis.time, end);
  const stretch = { ...start, start: 0, end, shape: whole, noise: start.noise ?? random.normal(whole), random };
  const latents = await sampleStretch(sampling, stretch, [{ start: 0, end }], context);
  return slice(latents, axis.time, lead, end);
}

function tooLongForLead({ manifest }: Model, latentFrames: number): InvalidOptionError {
  return new InvalidOptionError(
    expected(
      'latent frames of a clip with pictures beside it',
      `at most ${manifest.window.latentFrames}`,
      latentFrames,
      'Ask for fewer frames.',
    ),
  );
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
