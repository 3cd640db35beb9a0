// What a kind of output takes and does.
import type { Frame } from './frame.js';
import type { OutputMetadata } from './metadata.js';

/** How frames are written. */
export interface VideoWriterOptions {
  width: number;
  height: number;
  /** Frames a second. */
  frameRate: number;
  /** How many will come, where that is known: what has no room for them is told at once. */
  numFrames?: number | undefined;
  /** A file whose first sound track is kept, cut to the length of the pictures. Without sound in it, or a format without sound: none. */
  audioFrom?: string | undefined;
  /** Where in `audioFrom` the pictures begin. Default 0. */
  audioStartSeconds?: number | undefined;
  metadata?: OutputMetadata | undefined;
  /** Constant rate factor: 0 to 51, lower is better and larger. Default 16 for MP4, 24 for WebM. */
  crf?: number | undefined;
  signal?: AbortSignal | undefined;
}

/** Where a writer's frames go: one kind of file or files. */
export interface OutputTarget {
  /** Resolves when the frame's bytes are taken. */
  write(frame: Frame): Promise<void>;
  /** Puts the whole output in its place and returns its size in bytes. */
  complete(numFrames: number): Promise<number>;
  /** Ends ffmpeg and removes what isn't in its place. May be called at any time, and twice. */
  discard(): Promise<void>;
}
