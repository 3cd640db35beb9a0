// Frames to a video or image file, chosen by its name.
import { basename, extname } from 'node:path';
import { CancelledError, expected, InvalidOptionError, throwIfCancelled } from '../errors.js';
import { writeFailure } from './failures.js';
import { checkFrameRate, checkSize, type Frame } from './frame.js';
import { assertPlace } from './output-place.js';
import type { OutputTarget, VideoWriterOptions } from './output-target.js';
import { checkFrame } from './pixels.js';
import { createStreamTarget, type StreamFormat } from './stream-target.js';

/** What was written. */
export interface WrittenVideo {
  path: string;
  sizeBytes: number;
  numFrames: number;
}

/** Takes frames one at a time. The output appears under its name when finish() is done, and never in part. */
export interface VideoWriter {
  /** Resolves when ffmpeg has taken the bytes: await it, as this is what bounds memory. The frame is then the caller's again. */
  write(frame: Frame): Promise<void>;
  /** Completes the file. Throws OutputError (disk full, no permission), FfmpegError, CancelledError; nothing is left then. */
  finish(): Promise<WrittenVideo>;
  /** Ends ffmpeg and removes what was written. Does nothing after finish(). */
  abort(): Promise<void>;
}

const streamFormats: Readonly<Record<string, StreamFormat>> = { '.mp4': 'mp4', '.webm': 'webm', '.gif': 'gif' };
const imageExtensions = ['.png', '.jpg', '.jpeg', '.webp'];

/**
 * Returns a writer for the kind of file that the name asks for: `.mp4` (H.264), `.webm` (VP9), `.gif`, a folder with a
 * trailing slash or a name with `%04d` (PNG sequence), `.png`, `.jpg` or `.webp` (one frame).
 * Throws InvalidOptionError, OutputError, FfmpegNotFoundError.
 */
export async function createVideoWriter(path: string, options: VideoWriterOptions): Promise<VideoWriter> {
  checkSize(options.width, options.height);
  checkFrameRate(options.frameRate);
  throwIfCancelled(options.signal);
  const streamFormat = streamFormatOf(path);
  await assertPlace(path);
  const target =
    streamFormat === undefined
      ? await (await import('./image-target.js')).createImageTarget(path, options)
      : await createStreamTarget(path, streamFormat, options);
  return new TargetWriter(path, options, target);
}

/** Returns the kind of video that the name asks for, or undefined where it asks for images. Throws InvalidOptionError for any other name. */
export function streamFormatOf(path: string): StreamFormat | undefined {
  if (/[\\/]$/.test(path)) return undefined;
  const extension = extname(path).toLowerCase();
  const format = streamFormats[extension];
  if (format !== undefined || imageExtensions.includes(extension)) return format;
  const known = [...Object.keys(streamFormats), ...imageExtensions].join(', ');
  throw new InvalidOptionError(
    expected('output name', `one that ends in ${known}, or a folder ending in /`, basename(path)),
  );
}

/** The rules that hold for every kind of output: right frames in, all or nothing out, and the first failure stays. */
class TargetWriter implements VideoWriter {
  readonly #path: string;
  readonly #options: VideoWriterOptions;
  readonly #target: OutputTarget;
  readonly #onAbort = () => {
    // What can't be removed now is tried again at exit.
    this.abort().catch(() => {});
  };
  #numFrames = 0;
  #state: 'open' | 'finishing' | 'finished' | 'aborted' = 'open';
  #failure: unknown;

  constructor(path: string, options: VideoWriterOptions, target: OutputTarget) {
    this.#path = path;
    this.#options = options;
    this.#target = target;
    // Cancelling clears up even when nobody touches the writer again.
    options.signal?.addEventListener('abort', this.#onAbort, { once: true });
    if (options.signal?.aborted) this.#onAbort();
  }

  async write(frame: Frame): Promise<void> {
    if (this.#options.signal?.aborted) await this.#fail(new CancelledError());
    this.#checkOpen(); // nothing is awaited from here on until the target has begun, so that abort() can wait for it
    checkFrame(frame, this.#options.width, this.#options.height);
    this.#numFrames++;
    await this.#target.write(frame).catch((error: unknown) => this.#fail(error));
  }

  async finish(): Promise<WrittenVideo> {
    if (this.#options.signal?.aborted) await this.#fail(new CancelledError());
    this.#checkOpen();
    if (this.#numFrames === 0) await this.#fail(new InvalidOptionError(expected('number of frames', 'at least 1', 0)));
    this.#state = 'finishing';
    const sizeBytes = await this.#target.complete(this.#numFrames).catch((error: unknown) => this.#fail(error));
    this.#state = 'finished';
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
    return { path: this.#path, sizeBytes, numFrames: this.#numFrames };
  }

  async abort(): Promise<void> {
    if (this.#state === 'finished') return;
    this.#state = 'aborted';
    this.#options.signal?.removeEventListener('abort', this.#onAbort);
    await this.#target.discard();
  }

  #checkOpen(): void {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#state !== 'open') throw new InvalidOptionError(expected('writer', 'open', this.#state));
  }

  async #fail(error: unknown): Promise<never> {
    const { signal } = this.#options;
    const isCancelled = signal?.aborted || this.#state === 'aborted';
    this.#failure ??= isCancelled
      ? new CancelledError(undefined, { cause: signal?.reason })
      : writeFailure(this.#path, error);
    await this.abort().catch(() => {});
    throw this.#failure;
  }
}
