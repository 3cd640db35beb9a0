// Frames to a video or image file, chosen by its name.
import { stat } from 'node:fs/promises';
import { basename, dirname, extname, resolve } from 'node:path';
import { expected, InvalidOptionError, OutputError, throwIfCancelled } from '../errors.js';
import { checkFrameRate, checkSize, type Frame } from './frame.js';
import { createImageWriter } from './image-writer.js';
import type { OutputMetadata } from './metadata.js';
import { createStreamWriter, type StreamFormat } from './stream-writer.js';

/** How frames are written. */
export interface VideoWriterOptions {
  width: number;
  height: number;
  /** Frames a second. */
  frameRate: number;
  /** A file whose first sound track is kept, cut to the length of the pictures. Without sound in it, or a format without sound: none. */
  audioFrom?: string | undefined;
  /** Where in `audioFrom` the pictures begin. Default 0. */
  audioStartSeconds?: number | undefined;
  metadata?: OutputMetadata | undefined;
  /** Constant rate factor: lower is better and larger. Default 16 for MP4 (of 51), 24 for WebM (of 63). */
  crf?: number | undefined;
  signal?: AbortSignal | undefined;
}

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
  const extension = extname(path).toLowerCase();
  const isFolder = /[\\/]$/.test(path);
  const streamFormat = isFolder ? undefined : streamFormats[extension];
  if (streamFormat === undefined && !isFolder && !imageExtensions.includes(extension)) {
    const known = [...Object.keys(streamFormats), ...imageExtensions].join(', ');
    throw new InvalidOptionError(
      expected('output name', `one that ends in ${known}, or a folder ending in /`, basename(path)),
    );
  }
  await checkFolder(path);
  return streamFormat === undefined
    ? createImageWriter(path, options)
    : createStreamWriter(path, streamFormat, options);
}

async function checkFolder(path: string): Promise<void> {
  const folder = dirname(resolve(path));
  const found = await stat(folder).catch(() => undefined);
  if (!found?.isDirectory()) {
    throw new OutputError(`Expected the folder of ${path} to exist, got no such folder. Create it first.`);
  }
  const target = await stat(path).catch(() => undefined);
  if (target?.isDirectory() && !/[\\/]$/.test(path)) {
    throw new OutputError(`Expected ${path} to be a file, got a folder. End the name in / for a PNG sequence.`);
  }
}
