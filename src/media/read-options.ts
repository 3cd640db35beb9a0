// How frames are read, from videos and images alike.
import type { Fit } from './fit.js';

/** How frames are read. */
export interface ReadFramesOptions {
  /** Size of the frames. Default: as displayed; with one side given, the other keeps the proportions. */
  width?: number | undefined;
  height?: number | undefined;
  /** How the picture fills a frame of other proportions. Default `cover`. */
  fit?: Fit | undefined;
  /** Frames a second, evenly spaced whatever the file's own spacing. Default: the file's average. */
  frameRate?: number | undefined;
  /** Where to start. Default 0. */
  startSeconds?: number | undefined;
  /** Most frames to read. Default: all. */
  maxFrames?: number | undefined;
  signal?: AbortSignal | undefined;
}
