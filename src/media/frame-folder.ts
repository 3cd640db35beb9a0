// A folder of pictures as a clip: one frame a file, in the order of the numbers in their names.
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { MediaError } from '../errors.js';
import type { Frame } from './frame.js';
import { probe } from './probe.js';
import { readFrames, startsTooLate } from './read-frames.js';
import type { ReadFramesOptions } from './read-options.js';

/** Returns the paths of a folder's files in order, hidden ones left out, or undefined for what is no folder. Throws MediaError
 * for an empty one. */
export async function listFrameFolder(path: string): Promise<string[] | undefined> {
  const stats = await stat(path).catch(() => undefined);
  if (stats?.isDirectory() !== true) return undefined;
  const names = (await readdir(path)).filter((name) => !name.startsWith('.'));
  if (names.length === 0) {
    throw new MediaError(`Expected folder ${path} to hold pictures, got an empty one. Name another.`);
  }
  const { compare } = new Intl.Collator('en', { numeric: true });
  return names.sort(compare).map((name) => join(path, name));
}

/** Returns whether a path names one picture, and no clip or folder of frames. Throws MediaError for what is none of these. */
export async function isPicture(path: string, signal: AbortSignal | undefined): Promise<boolean> {
  return (await listFrameFolder(path)) === undefined && (await probe(path, { signal })).isStill;
}

/**
 * Yields the frames of a clip: those of a file as `readFrames` does, or those of a folder, of each file its picture or first
 * frame; `frameRate` then says which one `startSeconds` means. Throws what `readFrames` does.
 */
export async function* readClip(
  path: string,
  options: ReadFramesOptions & { frameRate: number },
): AsyncGenerator<Frame, void, undefined> {
  const files = await listFrameFolder(path);
  if (files === undefined) return yield* readFrames(path, options);
  const { frameRate, startSeconds = 0, maxFrames = Number.POSITIVE_INFINITY, ...read } = options;
  const first = Math.round(startSeconds * frameRate);
  if (first >= files.length) throw startsTooLate(path, startSeconds);
  for (const file of files.slice(first, first + maxFrames)) yield* readFrames(file, { ...read, maxFrames: 1 });
}
