// Latents in, pixels out, a chunk at a time, whatever the length of the clip.
import { expected, InvalidOptionError } from '../errors.js';
import { TorchRandom } from '../tensor/random.js';
import { axis, lengthOf, slice, type Tensor } from '../tensor/tensor.js';
import type { Manifest } from './manifest.js';
import type { DecodeOptions } from './model.js';
import type { Opener } from './network-pool.js';
import { readAhead } from './read-ahead.js';
import { rechunk } from './rechunk.js';
import type { NetworkSession } from './session.js';
import { assertClipPiece } from './vae-frames.js';
import { latentFramesPerCall, tileLayout } from './vae-limits.js';
import { noiseInput, startsShort, tensorPlaces, VaeStream } from './vae-stream.js';

/**
 * Yields the pixels [1, 3, m, H, W] of latents [1, C, n, h, w] that come in pieces of any length, decoded one chunk
 * ahead. Pixels are about [-1, 1] and not clamped; their buffers are the caller's. The first latent frame gives one frame,
 * each other one temporalCompression frames. Throws InvalidOptionError for latents that the model can't take.
 */
export async function* decodeLatents(
  opener: Opener,
  manifest: Manifest,
  latents: AsyncIterable<Tensor>,
  { signal, ...options }: DecodeOptions,
): AsyncGenerator<Tensor> {
  const stop = new AbortController();
  const stopToo = () => stop.abort(signal?.reason);
  if (signal?.aborted) stopToo();
  signal?.addEventListener('abort', stopToo, { once: true });
  try {
    yield* readAhead(decodeInTurn(opener, manifest, latents, { ...options, signal: stop.signal }), () => stop.abort());
  } finally {
    signal?.removeEventListener('abort', stopToo);
  }
}

async function* decodeInTurn(
  opener: Opener,
  manifest: Manifest,
  latents: AsyncIterable<Tensor>,
  { tileSize = 'auto', noise = new TorchRandom(0), ...options }: DecodeOptions,
): AsyncGenerator<Tensor> {
  const places = tensorPlaces(manifest);
  const graph = manifest.graphs.vaeDecoder;
  const { spatialCompression, temporalCompression } = manifest.latent;
  // The network loads while the first latents are made.
  opener.openAhead();
  const chunks = rechunk(latents, {
    leadingCopies: 0,
    firstFrames: (graph.first ?? graph.tiles)?.latentFrames,
    assertPiece: (piece, first) => assertClipPiece(manifest, places.latents, piece, first),
    chunkFrames: ({ shape }) =>
      latentFramesPerCall(
        manifest,
        graph,
        (shape[axis.height] ?? 0) * spatialCompression,
        (shape[axis.width] ?? 0) * spatialCompression,
      ),
  });
  let session: NetworkSession | undefined;
  let stream: VaeStream | undefined;
  try {
    for await (const chunk of chunks) {
      session ??= await opener.open();
      const height = lengthOf(chunk, axis.height) * spatialCompression;
      const width = lengthOf(chunk, axis.width) * spatialCompression;
      const hasCopies = stream === undefined && !startsShort(graph);
      stream ??= await VaeStream.open(
        {
          session,
          graph,
          input: places.latents,
          output: places.pixels,
          outputNames: [places.pixels.name],
        },
        tileLayout(manifest, graph, height, width, tileSize, lengthOf(chunk, axis.time)),
        options,
      );
      const takesNoise = session.inputs.some(({ name }) => name === noiseInput);
      const extra = takesNoise ? noise.normal(chunk.shape) : undefined;
      const [pixels] = (await stream.run(chunk, extra)) as [Tensor];
      // The encoder was fed copies of the first frame; here they come back.
      yield hasCopies ? slice(pixels, axis.time, temporalCompression - 1, lengthOf(pixels, axis.time)) : pixels;
    }
    for await (const [pixels] of stream?.finish() ?? []) yield pixels as Tensor;
    if (stream === undefined) throw new InvalidOptionError(expected('latents', 'at least one frame long', 'no frames'));
  } finally {
    await stream?.close();
  }
}
