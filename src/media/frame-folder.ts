// A folder of pictures as a clip: one frame a file, in the order of the numbers in their names.
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { MediaError } from '../errors.js';
import type { Frame } from './frame.js';
import { readFrames } from './read-frames.js';
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

/** Yields the picture of each file, of a video its first frame. Throws what `readFrames` does. */
export async function* readFrameFiles(
  paths: readonly string[],
  options: Omit<ReadFramesOptions, 'frameRate' | 'startSeconds' | 'maxFrames'>,
): AsyncGenerator<Frame, void, undefined> {
  for (const path of paths) yield* readFrames(path, { ...options, maxFrames: 1 });
}
