// One clip's way through one half of the VAE, chunk by chunk, whole or in tiles; every tile has causal states of its own.
import { expected, NetworkError } from '../errors.js';
import { axis, createTensor, sameShape, type Tensor } from '../tensor/tensor.js';
import type { Manifest, StreamingGraph } from './manifest.js';
import type { CallOptions } from './model.js';
import type { NetworkSession, NetworkStream, NetworkTensor } from './session.js';
import { addTile, cropTile, type Span, scaleSpans, spansOf, type WeightedSpan, weighSpans } from './tiling.js';
import { TimeTiles } from './time-tiles.js';
import type { TileLayout } from './vae-limits.js';

/** One half of the VAE: what goes in, what comes out, and by how much it is smaller than the frame. */
export interface VaeHalf {
  readonly session: NetworkSession;
  readonly graph: StreamingGraph;
  readonly input: TensorPlace;
  readonly output: TensorPlace;
  /** Outputs that are wanted, all of one shape. */
  readonly outputNames: readonly string[];
}

/** The encoder's second output, where it has one: the standard deviation of the latents, scaled as they are. */
export const deviationOutput = 'latents_std';

/** What a decoder that finishes the denoising takes besides latents; of the same shape. */
export const noiseInput = 'noise';

/** A tensor of a VAE graph, in units of the clip. */
export interface TensorPlace {
  readonly name: 'pixels' | 'latents';
  readonly channels: number;
  /** Frames of the clip in one frame of it, and pixels in one position of it. */
  readonly temporalCompression: number;
  readonly spatialCompression: number;
}

/** Returns where pixels and latents stand in relation to the clip. */
export function tensorPlaces({ latent }: Manifest): { pixels: TensorPlace; latents: TensorPlace } {
  return {
    pixels: { name: 'pixels', channels: 3, temporalCompression: 1, spatialCompression: 1 },
    latents: {
      name: 'latents',
      channels: latent.channels,
      temporalCompression: latent.temporalCompression,
      spatialCompression: latent.spatialCompression,
    },
  };
}

interface Tile {
  readonly rows: WeightedSpan;
  readonly columns: WeightedSpan;
  readonly crop: { readonly rows: Span; readonly columns: Span } | undefined;
  readonly stream: NetworkStream;
}

/** A clip that is being encoded or decoded. */
export class VaeStream {
  readonly #half: VaeHalf;
  readonly #tiles: readonly Tile[];
  readonly #options: CallOptions;
  /** For a graph that takes the clip in tiles of time. */
  readonly #turns: TimeTiles | undefined;
  /** Frames that the next chunk's latent frames lack to stand for as many as later ones. */
  #lacking: number;

  private constructor(half: VaeHalf, tiles: readonly Tile[], options: CallOptions) {
    this.#half = half;
    this.#tiles = tiles;
    this.#options = options;
    const perLatent = Math.max(half.input.temporalCompression, half.output.temporalCompression);
    this.#lacking = startsShort(half.graph) ? perLatent - 1 : 0;
    const { tiles: inTime } = half.graph;
    const { input, output } = half;
    // What is compressed in time has that many times fewer frames.
    const framesOf = (place: TensorPlace, latentFrames: number) =>
      (latentFrames * perLatent) / place.temporalCompression;
    this.#turns =
      inTime === undefined
        ? undefined
        : new TimeTiles({ input: framesOf(input, inTime.step), output: framesOf(output, inTime.step) });
  }

  /** Returns a stream for frames of that layout, its states at zero. */
  static async open(half: VaeHalf, layout: TileLayout, options: CallOptions): Promise<VaeStream> {
    const spans = (length: number) => spansOf(length, layout.side, layout.overlap, layout.multiple);
    const rowSpans = spans(layout.height);
    const columnSpans = spans(layout.width);
    const isWhole = rowSpans.length === 1 && columnSpans.length === 1;
    const tiles: Tile[] = [];
    const stream = new VaeStream(half, tiles, options);
    const weighed = (axisSpans: readonly Span[]) =>
      weighSpans(scaleSpans(axisSpans, 1 / half.output.spatialCompression));
    const rows = weighed(rowSpans);
    const columns = weighed(columnSpans);
    try {
      for (const [y, rowSpan] of rowSpans.entries()) {
        for (const [x, columnSpan] of columnSpans.entries()) {
          const [cropRows, cropColumns] = scaleSpans([rowSpan, columnSpan], 1 / half.input.spatialCompression);
          tiles.push({
            rows: rows[y] as WeightedSpan,
            columns: columns[x] as WeightedSpan,
            crop: isWhole ? undefined : { rows: cropRows as Span, columns: cropColumns as Span },
            stream: await half.session.openStream(stateShapes(half.graph, rowSpan.length, columnSpan.length)),
          });
        }
      }
    } catch (error) {
      await stream.close();
      throw error;
    }
    return stream;
  }

  /** Returns the other side of a chunk [1, C, n, H, W], whose buffer is given away, as is that of noise of the same shape: one
   * tensor for each wanted output. In tiles of time it is so much as the next tile has no say in. */
  async run(chunk: Tensor, noise?: Tensor): Promise<Tensor[]> {
    if (this.#turns === undefined) return this.#runChunk(chunk, noise);
    return this.#turns.join(await this.#runChunk(this.#turns.next(chunk)));
  }

  /** Yields what is left of the clip once all its chunks have run. */
  async *finish(): AsyncGenerator<Tensor[]> {
    for (let tile = this.#turns?.rest(); tile !== undefined; tile = this.#turns?.rest()) {
      yield (this.#turns as TimeTiles).join(await this.#runChunk(tile));
    }
  }

  async #runChunk(chunk: Tensor, noise?: Tensor): Promise<Tensor[]> {
    const { input, output } = this.#half;
    const taken = chunk.shape[axis.time] ?? 0;
    const frames =
      input.name === 'pixels'
        ? (taken + this.#lacking) / output.temporalCompression
        : taken * input.temporalCompression - this.#lacking;
    const across = (index: number) =>
      ((chunk.shape[index] ?? 0) * input.spatialCompression) / output.spatialCompression;
    const shape = [1, output.channels, frames, across(axis.height), across(axis.width)];
    if (this.#turns === undefined) this.#lacking = 0;
    let joined: Tensor[] | undefined;
    for (const tile of this.#tiles) {
      if (tile.crop === undefined) return this.#runTile(tile, chunk, noise, shape);
      joined ??= this.#half.outputNames.map(() => createTensor(shape));
      const { rows, columns } = tile.crop;
      const part = cropTile(chunk, rows, columns);
      const partNoise = noise === undefined ? undefined : cropTile(noise, rows, columns);
      const partShape = [1, output.channels, frames, tile.rows.length, tile.columns.length];
      for (const [index, made] of (await this.#runTile(tile, part, partNoise, partShape)).entries()) {
        addTile(joined[index] as Tensor, made, tile.rows, tile.columns);
      }
    }
    return joined as Tensor[];
  }

  /** Frees the states. */
  async close(): Promise<void> {
    await Promise.all(this.#tiles.map(({ stream }) => stream.close()));
  }

  async #runTile(
    { stream }: Tile,
    chunk: Tensor,
    noise: Tensor | undefined,
    shape: readonly number[],
  ): Promise<Tensor[]> {
    const { input, outputNames, graph } = this.#half;
    const feeds: Record<string, NetworkTensor> = { [input.name]: { type: 'float32', ...chunk } };
    if (noise !== undefined) feeds[noiseInput] = { type: 'float32', ...noise };
    const results = await stream.run(feeds, { ...this.#options, transfer: true });
    return outputNames.map((name) => {
      const result = results[name];
      if (result?.type !== 'float32' || !sameShape(result.shape, shape)) {
        throw new NetworkError(
          expected(`${name} of ${graph.path}`, `[${shape.join(', ')}]`, [...(result?.shape ?? [])]),
        );
      }
      return { data: result.data, shape };
    });
  }
}

/** Returns whether a clip's first latent frame stands for one frame in the graph, too, so that none is put in front of it. */
export function startsShort({ first, whole }: StreamingGraph): boolean {
  return first !== undefined || whole === true;
}

/** Returns the shapes of a graph's states for pixels of that size. */
export function stateShapes({ states }: StreamingGraph, height: number, width: number): number[][] {
  return states.map(({ channels, frames, spatialDivisor }) => [
    1,
    channels,
    frames,
    height / spatialDivisor,
    width / spatialDivisor,
  ]);
}
