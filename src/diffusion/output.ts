// Latents on their way out: handed to who keeps them, decoded, cut to length, as frames.
import type { Frame } from '../media/frame.js';
import { pixelsToFrames } from '../media/pixels.js';
import type { Model } from '../networks/model.js';
import type { Tensor } from '../tensor/tensor.js';
import { type RunContext, timeEach } from './progress.js';

/** What part of the decoded frames is wanted. */
export interface DecodeOptions {
  /** Frames left out at the front. Default 0. */
  readonly skip?: number | undefined;
  /** Frames wanted after those; asked again for each chunk, so that a source's length may be found on the way. */
  readonly limit?: (() => number | undefined) | undefined;
  readonly tileSize?: number | undefined;
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
  const { skip = 0, limit, tileSize, total } = options;
  const { signal, priority } = context;
  const chunks = timeEach(
    context.clock,
    'decode',
    model.decode(keeping(latents, context), { signal, priority, tileSize }),
  );
  let seen = 0;
  for await (const pixels of chunks) {
    for (const frame of pixelsToFrames(pixels)) {
      seen++;
      if (seen <= skip) continue;
      const wanted = limit?.();
      if (wanted !== undefined && seen - skip > wanted) return;
      yield frame;
    }
    context.onProgress?.({ stage: 'decode', done: Math.max(0, seen - skip), total: limit?.() ?? total });
  }
}

async function* keeping(latents: AsyncIterable<Tensor>, context: RunContext): AsyncGenerator<Tensor> {
  for await (const piece of latents) {
    await context.onLatents?.(piece);
    yield piece;
  }
}
