// Prompts at frames of a clip, blended in between.
import type { z } from 'zod';
import { expected, InvalidOptionError } from '../errors.js';
import type { Manifest } from '../networks/manifest.js';
import { pathPrompts } from './path.js';
import type { TimedPrompt } from './sampling.js';

/** A prompt, and the frame of the clip at which it holds. */
export interface PromptKey {
  readonly frame: number;
  readonly text: string;
}

/** The options that say what a clip shows. */
export interface PromptOptions {
  /** Holds from the first frame. */
  readonly prompt?: string | undefined;
  /** Texts by the number of their frame. */
  readonly promptAt?: Readonly<Record<string, string>> | undefined;
}

/** A rule for schemas with these options: there is one prompt at least, and not two for one frame. */
export function checkPrompts({ prompt, promptAt }: PromptOptions, { addIssue }: z.core.$RefinementCtx): void {
  if (prompt === undefined && Object.keys(promptAt ?? {}).length === 0) {
    addIssue({ code: 'custom', message: 'Expected a prompt, got none: what the clip shows' });
  } else if (prompt !== undefined && promptAt?.[0] !== undefined) {
    addIssue({ code: 'custom', message: 'Expected one prompt for frame 0, got a prompt and another one at frame 0' });
  }
}

/** Returns the prompts in the order of their frames. */
export function promptKeys({ prompt, promptAt = {} }: PromptOptions): PromptKey[] {
  const keys = Object.entries(promptAt).map(([frame, text]) => ({ frame: Number(frame), text }));
  if (prompt !== undefined) keys.push({ frame: 0, text: prompt });
  return keys.sort((a, b) => a.frame - b.frame);
}

/** Throws InvalidOptionError for keys in one latent frame, and beyond the clip's end where that is known. */
export function assertKeys(manifest: Manifest, keys: readonly PromptKey[], numFrames = Number.POSITIVE_INFINITY): void {
  const beyond = keys.find(({ frame }) => frame >= numFrames);
  if (beyond !== undefined) {
    throw new InvalidOptionError(expected('frame of a prompt', `below the clip's ${numFrames} frames`, beyond.frame));
  }
  const times = latentTimes(manifest, keys);
  const index = times.findIndex((time, index) => time === times[index - 1]);
  if (index === -1) return;
  const frames = keys.slice(index - 1, index + 1).map(({ frame }) => frame);
  throw new InvalidOptionError(
    expected('frames of prompts', `${manifest.latent.temporalCompression} or more apart for this model`, frames),
  );
}

/**
 * Returns the keys' prompts with their weights along a clip: each holds at its frame, the first one before and the last one
 * after; between two, embeddings and predictions are blended evenly. `prompts` are those of the keys, in their order;
 * `frames` is the clip's length in latent frames, where it is known.
 */
export function promptsAlong(
  manifest: Manifest,
  keys: readonly PromptKey[],
  prompts: readonly TimedPrompt[],
  frames?: number,
): readonly TimedPrompt[] {
  if (prompts.length === 1) return prompts;
  const times = latentTimes(manifest, keys);
  return pathPrompts(
    prompts.map(({ prompt }) => prompt),
    (frame) => placeAmong(times, frame),
    manifest.window.latentFrames === 1 ? frames : undefined,
  );
}

/** Returns the options as they go into a file's settings. */
export function promptSettings({ prompt, promptAt }: PromptOptions): PromptOptions {
  return { ...(prompt === undefined ? {} : { prompt }), ...(promptAt === undefined ? {} : { promptAt }) };
}

function latentTimes({ latent }: Manifest, keys: readonly PromptKey[]): number[] {
  return keys.map(({ frame }) => Math.ceil(frame / latent.temporalCompression));
}

/** Returns where a time is among rising times: 0 up to the first, 1 at the second, and so on. */
function placeAmong(times: readonly number[], time: number): number {
  const next = times.findIndex((key) => key > time);
  if (next === 0) return 0;
  if (next === -1) return times.length - 1;
  const before = times[next - 1] as number;
  return next - 1 + (time - before) / ((times[next] as number) - before);
}
