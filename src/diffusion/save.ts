// The end of a run: frames into a file with sound and settings, or latents alone.
import { stat } from 'node:fs/promises';
import { extname } from 'node:path';
import { InvalidOptionError } from '../errors.js';
import type { Clip } from '../media/clip.js';
import { assertPlace } from '../media/output-place.js';
import { createVideoWriter, streamFormatOf, type WrittenVideo } from '../media/write-frames.js';
import { LatentsWriter } from './latents-file.js';
import type { RunContext } from './progress.js';

/** Ending of files that hold latents. */
export const latentsExtension = '.safetensors';

/** Throws what `saveClip` would for that name, InvalidOptionError or OutputError, before any work is done for a clip. */
export async function assertOutput(path: string): Promise<void> {
  if (extname(path) !== latentsExtension) streamFormatOf(path);
  await assertPlace(path);
}

const begun = new WeakSet<Clip>();

/** Writes a clip under that name: the kind of video or image that the name asks for, or with `.safetensors` its latents, undecoded.
 * Returns what was written. On any failure nothing is left under the name. Throws InvalidOptionError for a clip that was read before. */
export async function saveClip(clip: Clip, path: string, context: RunContext = {}): Promise<WrittenVideo> {
  if (begun.has(clip)) {
    throw new InvalidOptionError(
      'Expected a clip to be saved once, got one that was saved before. Run its pipeline again.',
    );
  }
  return extname(path) === latentsExtension ? saveLatents(clip, path) : saveFrames(clip, path, context);
}

async function saveLatents(clip: Clip, path: string): Promise<WrittenVideo> {
  const writer = await LatentsWriter.create(path);
  begun.add(clip);
  try {
    for await (const latents of clip.latents) await writer.write(latents);
    await writer.finish(clip);
    return { path, sizeBytes: (await stat(path)).size, numFrames: clip.decodedFrames ?? clip.numFrames ?? 0 };
  } finally {
    await writer.close();
  }
}

async function saveFrames(clip: Clip, path: string, context: RunContext): Promise<WrittenVideo> {
  const time = <T>(work: () => Promise<T>) =>
    context.clock === undefined ? work() : context.clock.time('write', work);
  const writer = await createVideoWriter(path, {
    width: clip.width,
    height: clip.height,
    frameRate: clip.frameRate,
    numFrames: clip.numFrames,
    audioFrom: clip.audio?.path,
    audioStartSeconds: clip.audio?.startSeconds,
    metadata: { comment: JSON.stringify({ reelspace: clip.settings }) },
    signal: context.signal,
  });
  begun.add(clip);
  try {
    let done = 0;
    for await (const frame of clip.frames) {
      await time(() => writer.write(frame));
      context.onProgress?.({ stage: 'write', done: ++done, total: clip.numFrames });
    }
    return await time(() => writer.finish());
  } catch (error) {
    await writer.abort();
    throw error;
  }
}
