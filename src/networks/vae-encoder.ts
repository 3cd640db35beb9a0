// Pixels in, latents out, a chunk at a time, whatever the length of the clip.
import { expected, InvalidOptionError } from '../errors.js';
import { axis, type Tensor } from '../tensor/tensor.js';
import type { Manifest } from './manifest.js';
import type { Posterior, VaeOptions } from './model.js';
import type { Opener } from './network-pool.js';
import { readAhead } from './read-ahead.js';
import { rechunk } from './rechunk.js';
import type { NetworkSession } from './session.js';
import { assertClipPiece } from './vae-frames.js';
import { latentFramesPerCall, tileLayout } from './vae-limits.js';
import { deviationOutput, startsShort, tensorPlaces, VaeStream } from './vae-stream.js';

/**
 * Yields latents and deviation [1, C, n, h, w] of a clip whose pixels [1, 3, m, H, W] come in pieces of any length, read one chunk
 * ahead. T = 1 + k·temporalCompression frames give k + 1 latent frames: the first frame is fed as often as a latent frame
 * holds frames, unless the model has a graph of its own for it. Throws InvalidOptionError for another number of frames,
 * or sizes that the model can't take.
 */
export async function* encodePixels(
  opener: Opener,
  manifest: Manifest,
  pixels: AsyncIterable<Tensor>,
  { tileSize = 'auto', ...options }: VaeOptions,
): AsyncGenerator<Posterior> {
  const places = tensorPlaces(manifest);
  const graph = manifest.graphs.vaeEncoder;
  const perLatent = manifest.latent.temporalCompression;
  /** Frames that the first latent frame lacks. */
  const lacking = perLatent - 1;
  const first = graph.first ?? graph.tiles;
  const hasCopies = !startsShort(graph);
  // The network loads while the first frames are read.
  opener.openAhead();
  const chunks = rechunk(pixels, {
    leadingCopies: hasCopies ? lacking : 0,
    firstFrames: first === undefined ? undefined : perLatent * first.latentFrames - lacking,
    assertPiece: (piece, first) => assertClipPiece(manifest, places.pixels, piece, first),
    chunkFrames: ({ shape }) =>
      perLatent * latentFramesPerCall(manifest, graph, shape[axis.height] ?? 0, shape[axis.width] ?? 0),
  });
  let session: NetworkSession | undefined;
  let stream: VaeStream | undefined;
  let numFrames = 0;
  try {
    for await (const chunk of readAhead(chunks)) {
      const [, , frames = 0, height = 0, width = 0] = chunk.shape;
      numFrames += stream === undefined && hasCopies ? frames - lacking : frames;
      if ((numFrames + lacking) % perLatent !== 0) throw wrongFrameCount(numFrames, perLatent);
      session ??= await opener.open();
      const hasDeviation = session.outputs.some(({ name }) => name === deviationOutput);
      stream ??= await VaeStream.open(
        {
          session,
          graph,
          input: places.pixels,
          output: places.latents,
          outputNames: hasDeviation ? [places.latents.name, deviationOutput] : [places.latents.name],
        },
        tileLayout(manifest, graph, height, width, tileSize, (numFrames + lacking) / perLatent),
        options,
      );
      const [latents, deviation] = await stream.run(chunk);
      yield { latents: latents as Tensor, deviation };
    }
    for await (const [latents, deviation] of stream?.finish() ?? []) yield { latents: latents as Tensor, deviation };
    if (stream === undefined) throw new InvalidOptionError(expected('clip', 'at least one frame long', 'no frames'));
  } finally {
    await stream?.close();
  }
}

function wrongFrameCount(numFrames: number, perLatent: number): InvalidOptionError {
  const below = numFrames - ((numFrames - 1) % perLatent);
  return new InvalidOptionError(
    expected(
      'number of frames',
      `one more than a multiple of ${perLatent}`,
      numFrames,
      `Use ${below} or ${below + perLatent} frames.`,
    ),
  );
}
