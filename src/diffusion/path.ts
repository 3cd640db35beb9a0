// A path through keyframes: where along it each latent frame is, and what its latents and prompt are there.
import type { PromptEmbeds } from '../networks/model.js';
import { lerp, slerp } from '../tensor/math.js';
import { axis, concat, createTensor, lengthOf, slice, type Tensor } from '../tensor/tensor.js';
import type { TimedPrompt } from './sampling.js';
import { atFront, changeBefore, changedAt } from './spread.js';

/** How a segment between two keyframes is travelled: at even speed, or slowly at both ends. */
export const eases = ['linear', 'smooth'] as const;
export type Ease = (typeof eases)[number];

const easing: Record<Ease, (share: number) => number> = {
  linear: (share) => share,
  smooth: (share) => share * share * (3 - 2 * share),
};

/** Returns for each of `frames` latent frames its place on a path through `keyframes` keyframes: 0 at the first keyframe, 1 at the
 * second and so on; each segment is eased. */
export function pathPlaces(frames: number, keyframes: number, ease: Ease): number[] {
  return Array.from({ length: frames }, (_, frame) => {
    const place = frames === 1 ? 0 : (frame * (keyframes - 1)) / (frames - 1);
    const segment = Math.min(Math.floor(place), keyframes - 2);
    return segment + easing[ease](place - segment);
  });
}

/** Returns the latent frame at which a keyframe stands. */
export function keyframeTime(keyframe: number, keyframes: number, frames: number): number {
  return Math.round((keyframe * (frames - 1)) / (keyframes - 1));
}

/** A path through keyframes. */
export interface Path {
  /** [1, C, t, h, w]. */
  readonly latents: Tensor;
  /** [1, 1, t, h, w]: how much each position or a neighbour lies between two keyframes, from 0 on one to 1 halfway. */
  readonly between: Tensor;
}

/** Returns the path: between neighbours on the arc (slerp), frame by frame, the change spreading as `changedAt` says.
 * Each keyframe is latents [1, C, m, h, w]: the first keyframe plays from its start, the last one to its end, the others centred;
 * where one has no frame for a time, its nearest is held. */
export function pathLatents(keyframes: readonly Tensor[], places: readonly number[], spread: number): Path {
  const frameOf = (index: number, time: number) => keyframeFrame(keyframes, index, time, places.length);
  const segments = keyframes.slice(1).map((_, segment) => {
    const middle = keyframeTime(2 * segment + 1, 2 * keyframes.length - 1, places.length);
    return changeBefore(frameOf(segment, middle), frameOf(segment + 1, middle));
  });
  const between: Tensor[] = [];
  const frames = places.map((place, time) => {
    const segment = Math.min(Math.floor(place), segments.length - 1);
    const changed = changedAt(segments[segment] as Float64Array, place - segment, spread);
    const from = frameOf(segment, time);
    between.push(createTensor(from.shape.with(axis.channels, 1), atFront(changed, lengthOf(from, axis.width))));
    return slerp(from, frameOf(segment + 1, time), changed);
  });
  return { latents: concat(frames, axis.time), between: concat(between, axis.time) };
}

function keyframeFrame(keyframes: readonly Tensor[], index: number, time: number, total: number): Tensor {
  const latents = keyframes[index] as Tensor;
  const length = lengthOf(latents, axis.time);
  const isLast = index === keyframes.length - 1;
  const centre = keyframeTime(index, keyframes.length, total);
  const wanted = index === 0 ? time : isLast ? length - total + time : Math.round(time - centre + (length - 1) / 2);
  // The first latent frame codes one picture and not four: later times are better served by the second one.
  const earliest = time > 0 && length > 1 ? 1 : 0;
  const frame = Math.min(length - 1, Math.max(earliest, wanted));
  return slice(latents, axis.time, frame, frame + 1);
}

/** Embeddings between two keyframes at which the network is asked; frames in between blend the nearest two. */
const stopsPerSegment = 2;

/** Returns the prompts along the path: embeddings blended on the straight line; `placeAt` gives a latent frame's place on the path.
 * They stand at a few stops, each weighted around its place. For a model that makes one frame at a time, `singleFrames` is their
 * number, and each has its own. */
export function pathPrompts(
  keyframes: readonly PromptEmbeds[],
  placeAt: (frame: number) => number,
  singleFrames?: number,
): TimedPrompt[] {
  const blendAt = (place: number) => {
    const segment = Math.min(Math.floor(place), keyframes.length - 2);
    return blendEmbeds(keyframes[segment] as PromptEmbeds, keyframes[segment + 1] as PromptEmbeds, place - segment);
  };
  if (singleFrames !== undefined) {
    return Array.from({ length: singleFrames }, (_, frame) => ({
      prompt: blendAt(placeAt(frame)),
      weightAt: (other) => (other === frame ? 1 : 0),
    }));
  }
  const stops = (keyframes.length - 1) * stopsPerSegment;
  return Array.from({ length: stops + 1 }, (_, stop) => {
    const place = stop / stopsPerSegment;
    return {
      prompt: blendAt(place),
      weightAt: (frame) => Math.max(0, 1 - Math.abs(placeAt(frame) - place) * stopsPerSegment),
    };
  });
}

function blendEmbeds(from: PromptEmbeds, to: PromptEmbeds, amount: number): PromptEmbeds {
  if (amount === 0) return from;
  if (amount === 1) return to;
  const mask = from.mask.data.map((value, index) => Math.max(value, to.mask.data[index] as number));
  const pooled =
    from.pooled === undefined || to.pooled === undefined ? undefined : lerp(from.pooled, to.pooled, amount);
  return {
    embeds: lerp(from.embeds, to.embeds, amount),
    mask: { data: mask, shape: from.mask.shape },
    pooled,
    truncated: [],
  };
}
