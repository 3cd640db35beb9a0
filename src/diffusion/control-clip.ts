// Clips that say what is to be made (their depths, poses, edges): which were asked for, and their frames as a run takes them.
import { expected, InvalidOptionError, MediaError } from '../errors.js';
import { findEdges } from '../media/edges.js';
import type { Frame } from '../media/frame.js';
import { listFrameFolder, readClip } from '../media/frame-folder.js';
import { probe } from '../media/probe.js';
import { readFrames } from '../media/read-frames.js';
import type { Manifest } from '../networks/manifest.js';
import { requireTask } from './conditions.js';
import type { Size } from './geometry.js';
import type { RunContext } from './progress.js';

/** What a model is to be controlled by. */
export interface Control {
  /** What the clip shows: one of the model's `controls`, or the kind of one of its control nets. */
  readonly name: string;
  /** A clip, a picture, which stands for every frame, or a folder of pictures. */
  readonly path: string;
  /** How much it counts, from 0 on. */
  readonly scale: number;
  /** Shares of the run, in 0 to 1, from which on and up to which it counts. */
  readonly start: number;
  readonly end: number;
}

/** Of which the runtime finds what it shows in any picture. */
const edges = 'edges';

/** More says nothing that less doesn't, and ends in noise. */
const largestScale = 10;

const grammar = 'NAME=clip, NAME=clip:SCALE or NAME=clip:SCALE:START:END';
const number = String.raw`[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|[+-]?inf(?:inity)?|nan`;
const pattern = new RegExp(`^([^=]*)=(.+?)((?::(?:${number}))*)$`, 'is');

/** Returns the controls that were asked for. Throws InvalidOptionError for what the text or the model doesn't allow. */
export function parseControls(manifest: Manifest, asked: string | readonly string[] | undefined): Control[] {
  if (asked === undefined) return [];
  requireTask(manifest, 'control');
  const { denoiser, controlNets = [] } = manifest.graphs;
  const names = [...(denoiser.controls ?? []), ...controlNets.map(({ kind }) => kind)];
  const controls = [asked].flat().map((text) => parseControl(names, text));
  const twice = controls.find(({ name }, at) => controls.findIndex((other) => other.name === name) < at);
  if (twice !== undefined) throw new InvalidOptionError(expected('controls', 'given once each', `${twice.name} twice`));
  if (denoiser.controls !== undefined && controls.length > 1) {
    throw new InvalidOptionError(expected('controls', `one for model "${manifest.name}"`, controls.length));
  }
  return controls;
}

function parseControl(names: readonly string[], text: string): Control {
  const [, name = '', path = '', tail = ''] = pattern.exec(text) ?? [];
  const numbers = tail.split(':').slice(1).map(Number);
  if (!names.includes(name) || ![0, 1, 3].includes(numbers.length)) {
    throw new InvalidOptionError(expected('control', `${grammar}, NAME one of ${names.join(', ')}`, text));
  }
  const [scale = 1, start = 0, end = 1] = numbers;
  if (!(scale >= 0 && scale <= largestScale)) {
    throw new InvalidOptionError(expected(`scale of control ${name}`, `from 0 to ${largestScale}`, scale));
  }
  if (!(start >= 0 && start < end && end <= 1)) {
    throw new InvalidOptionError(
      expected(`start and end of control ${name}`, 'from 0 to 1, the start before the end', `${start} and ${end}`),
    );
  }
  return { name, path, scale, start, end };
}

/** Returns whether a control counts at that network call. Bounds as in diffusers' ControlNet pipelines. */
export function isControlled({ scale, start, end }: Control, call: number, calls: number): boolean {
  return scale !== 0 && call / calls >= start && (call + 1) / calls <= end;
}

/** How control clips are read. */
export interface ControlReading extends Size {
  readonly frameRate: number;
  /** Where the clip starts, as in a source of the run. Default 0. */
  readonly startSeconds?: number | undefined;
  /** Frames of the run, where that is known. */
  readonly numFrames?: number | undefined;
}

/** The frames of a control clip, scaled and cropped to the size of the run, taken in order. */
export class ControlClip {
  readonly control: Control;
  readonly #frames: AsyncIterator<Frame>;
  /** The picture that stands for every frame. */
  #still: Frame | undefined;
  readonly #isStill: boolean;
  /** Frames that may be asked for again, from number `#first` on. */
  #held: Frame[] = [];
  #first = 0;

  constructor(control: Control, frames: AsyncGenerator<Frame>, isStill: boolean) {
    this.control = control;
    this.#frames = frames;
    this.#isStill = isStill;
  }

  /** Returns frames [start, end); those before `start` are let go of. Before 0 the first one counts. Throws MediaError where the clip
   * has ended. */
  async take(start: number, end: number): Promise<Frame[]> {
    if (this.#isStill) {
      this.#still ??= await this.#next(0);
      return new Array<Frame>(end - start).fill(this.#still);
    }
    while (this.#first + this.#held.length < end) this.#held.push(await this.#next(this.#first + this.#held.length));
    const from = Math.max(0, start);
    this.#held = this.#held.slice(from - this.#first);
    this.#first = from;
    const taken = this.#held.slice(0, end - from);
    return [...new Array<Frame>(from - start).fill(taken[0] as Frame), ...taken];
  }

  /** Stops reading. */
  async close(): Promise<void> {
    await this.#frames.return?.();
  }

  async #next(at: number): Promise<Frame> {
    const { done, value } = await this.#frames.next();
    if (done === true) throw tooShort(this.control, undefined, at);
    return this.control.name === edges ? findEdges(value) : value;
  }
}

/** Returns control clips, of which nothing has been read but what they are. Throws MediaError for a file that is no clip, and for one that
 * is known to be too short. */
export async function openControls(
  controls: readonly Control[],
  reading: ControlReading,
  context: RunContext,
): Promise<ControlClip[]> {
  return Promise.all(controls.map((control) => openControl(control, reading, context)));
}

async function openControl(
  control: Control,
  { width, height, frameRate, startSeconds = 0, numFrames }: ControlReading,
  { signal }: RunContext,
): Promise<ControlClip> {
  const read = { width, height, fit: 'cover', signal } as const;
  const { path } = control;
  const files = await listFrameFolder(path);
  if (files !== undefined) {
    const rest = Math.max(0, files.length - Math.round(startSeconds * frameRate));
    if (rest < (numFrames ?? 1)) throw tooShort(control, numFrames, rest);
  } else {
    const { isStill, durationSeconds } = await probe(path, { signal });
    if (isStill) return new ControlClip(control, readFrames(path, read), true);
    // The longest stream may be the sound, so that this is not too few.
    const frames = Math.floor(((durationSeconds ?? Number.POSITIVE_INFINITY) - startSeconds) * frameRate) + 1;
    if (frames < (numFrames ?? 1)) throw tooShort(control, numFrames, `${Math.max(0, frames)} at most`);
  }
  return new ControlClip(control, readClip(path, { ...read, frameRate, startSeconds, maxFrames: numFrames }), false);
}

function tooShort({ path }: Control, wanted: number | undefined, frames: number | string): MediaError {
  const rule = wanted === undefined ? 'as many as the clip has' : `at least ${wanted}`;
  return new MediaError(expected(`frames of control ${path}`, rule, frames, 'Ask for fewer frames, or a higher rate.'));
}

/** Yields what is made under control, and stops reading the control clips in the end. */
export async function* closing<T>(controls: readonly ControlClip[], made: AsyncGenerator<T>): AsyncGenerator<T> {
  try {
    yield* made;
  } finally {
    await Promise.all(controls.map((control) => control.close()));
  }
}
