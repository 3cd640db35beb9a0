// A clip on its way to a file: frames as they are made, and what belongs in the file beside them.
import type { Tensor } from '../tensor/tensor.js';
import type { Frame } from './frame.js';

/** Two latent frames of a clip between which each is a still. */
export interface Glide {
  readonly start: number;
  readonly end: number;
}

/** Frames and what a player and a reader need to know about them. */
export interface Clip {
  readonly width: number;
  readonly height: number;
  /** Frames per second. */
  readonly frameRate: number;
  /** How many frames there will be; undefined while a source of unknown length is still being read. */
  readonly numFrames: number | undefined;
  /** The frames in order; can be read once. Leaving the loop early ends the run. */
  readonly frames: AsyncIterable<Frame>;
  /** The latents [1, C, n, h, w] behind the frames, in pieces, for who wants them alone: a clip is read as frames or as latents. */
  readonly latents: AsyncIterable<Tensor>;
  /** How many of the frames, the last ones, are decoded from the latents. Default: all. */
  readonly decodedFrames?: number | undefined;
  /** Frames decoded from the latents in front of those, which are left out. Like `numFrames`, it may become known while the clip is
   * read. Default 0. */
  readonly leadFrames?: number | undefined;
  /** Where latent frames are stills, whose frames are faded into each other when they are decoded. Default nowhere. */
  readonly glides?: readonly Glide[] | undefined;
  /** What was asked for: pipeline, model, prompt, seed and every option, as it goes into the file. */
  readonly settings: Readonly<Record<string, unknown>>;
  /** File whose sound goes with the clip, if any, and where in it the clip starts. */
  readonly audio?: { readonly path: string; readonly startSeconds: number } | undefined;
  /** What the user should know: cut prompts and the like. */
  readonly warnings: readonly string[];
}
