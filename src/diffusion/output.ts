// Latents on their way out: handed to who keeps them, decoded, cut to length, as frames.
import { setImmediate } from 'node:timers/promises';
import { throwIfCancelled } from '../errors.js';
import type { Glide } from '../media/clip.js';
import type { Frame } from '../media/frame.js';
import { pixelsToFrames } from '../media/pixels.js';
import type { Model } from '../networks/model.js';
import type { NoiseSource } from '../schedulers/scheduler.js';
import { axis, lengthOf, type Tensor } from '../tensor/tensor.js';
import { glide } from './glide.js';
import { type RunContext, timeEach } from './progress.js';

/** What part of the decoded frames is wanted. */
export interface DecodeOptions {
  /** Frames left out at the front. Default 0. */
  readonly skip?: number | undefined;
  /** Frames wanted after those; asked again for each chunk, so that a source's length may be found on the way. */
  readonly limit?: (() => number | undefined) | undefined;
  readonly tileSize?: number | undefined;
  /** Where latent frames are stills that are faded into each other. Default nowhere. */
  readonly glides?: readonly Glide[] | undefined;
  /** Where a decoder that finishes the denoising gets its noise from; the run's, where there is one. */
  readonly noise?: NoiseSource | undefined;
  /** Frames expected, for progress. */
  readonly total?: number | undefined;
}

/** Yields the frames of latents [1, C, n, h, w] that come in pieces; each piece is handed to `onLatents` before it is decoded. */
export async function* decodeFrames(
  model: Model,
  latents: AsyncIterable<Tensor>,
  context: RunContext,
  options: DecodeOptions = {},
): AsyncGenerator<Frame> {
  const { skip = 0, limit, tileSize, glides = [], noise, total } = options;
  const { signal, priority } = context;
  const decodedPixels = model.decode(keeping(latents, context), { signal, priority, tileSize, noise });
  const chunks = timeEach(
    context.clock,
    'decode',
    glides.length === 0 ? decodedPixels : glide(decodedPixels, glides, model.manifest),
  );
  let decoded = 0;
  for await (const pixels of chunks) {
    const frames = lengthOf(pixels, axis.time);
    const from = Math.max(0, skip - decoded);
    decoded += frames;
    // Asked only now: the source's length may have become known with this chunk.
    const wanted = limit?.() ?? Number.POSITIVE_INFINITY;
    const until = Math.min(frames, frames - (decoded - skip - wanted));
    context.onProgress?.({
      stage: 'decode',
      done: Math.max(0, Math.min(decoded - skip, wanted)),
      total: limit?.() ?? total,
    });
    for (const frame of pixelsToFrames(pixels, from, until)) {
      throwIfCancelled(signal);
      yield frame;
      // Else a chunk of large frames would hold the event loop for as long as all of them take.
      await setImmediate();
    }
    if (decoded - skip >= wanted) return;
  }
}

async function* keeping(latents: AsyncIterable<Tensor>, context: RunContext): AsyncGenerator<Tensor> {
  for await (const piece of latents) {
    await context.onLatents?.(piece);
    yield piece;
  }
}
