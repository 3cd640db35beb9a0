// A source clip a part of which is made over, as a denoiser is told of it; held in memory as a whole.
import type { Frame } from '../media/frame.js';
import type { Model } from '../networks/model.js';
import { latentFrames, latentShape, type Size } from './geometry.js';
import type { Mask } from './masks.js';
import type { RunContext } from './progress.js';
import type { Start } from './start.js';
import { tellClip } from './told-clip.js';

/** A clip to be made over, and what it starts from. */
export interface ToldSource {
  readonly start: Start;
  /** [1, C, t, h, w]. */
  readonly shape: readonly number[];
}

/** A frame of a source, and what is made over of it. */
export interface MaskedFrame {
  readonly frame: Frame;
  readonly mask: Mask;
}

/** Returns what a source of at least one frame starts from. Its last frame and mask are repeated up to the next length that
 * the model takes. */
export async function tellSource(
  model: Model,
  frames: readonly MaskedFrame[],
  size: Size,
  context: RunContext,
): Promise<ToldSource> {
  const { temporalCompression } = model.manifest.latent;
  const count = Math.ceil((frames.length - 1) / temporalCompression) * temporalCompression + 1;
  const shape = latentShape(model.manifest, size, latentFrames(model.manifest, count));
  const frameAt = (at: number) => {
    const { frame, mask } = frames[Math.min(at, frames.length - 1)] as MaskedFrame;
    return { kept: frame, remade: frame, mask };
  };
  return { start: await tellClip(model, shape, frameAt, context), shape };
}
