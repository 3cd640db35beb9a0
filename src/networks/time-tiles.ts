// A clip in tiles of time, each a clip of its own to the network, for networks whose norms go over all that they are given: the next
// tile shares its beginning with the end of the one before, and the two are faded over.
import { axis, concat, lengthOf, slice, type Tensor } from '../tensor/tensor.js';

/** Where tiles begin, in frames of what goes in and of what comes out. */
export interface TileStep {
  readonly input: number;
  readonly output: number;
}

/** Makes tiles of a clip's chunks, the first of which is a tile and the others as long as a step, and joins what is made of them. */
export class TimeTiles {
  readonly #step: TileStep;
  /** The beginning of the next tile. */
  #shared: Tensor | undefined;
  /** What the tile before has made of that beginning, for each output. */
  #tails: Tensor[] | undefined;

  constructor(step: TileStep) {
    this.#step = step;
  }

  /** Returns the tile that ends with this chunk [1, C, n, H, W]. */
  next(chunk: Tensor): Tensor {
    return this.#keep(this.#shared === undefined ? chunk : concat([this.#shared, chunk], axis.time));
  }

  /** Returns a tile that begins before the clip's last frame and has had no chunk of its own, or undefined when there is none left. */
  rest(): Tensor | undefined {
    // A tile's first frame is there for the others alone.
    return this.#shared === undefined || lengthOf(this.#shared, axis.time) <= 1 ? undefined : this.#keep(this.#shared);
  }

  /** Returns the frames of the outputs [1, C, m, H, W] of a tile that no later tile has a say in. */
  join(made: readonly Tensor[]): Tensor[] {
    const tails = this.#tails;
    const fresh =
      tails === undefined ? made : made.map((tensor) => slice(tensor, axis.time, 1, lengthOf(tensor, axis.time)));
    for (const [index, tail] of tails?.entries() ?? []) fadeOver(tail, fresh[index] as Tensor);
    const done = fresh.map((tensor) => {
      const frames = lengthOf(tensor, axis.time);
      const kept = Math.min(frames, this.#step.output + (tails === undefined ? 1 : 0));
      return { kept: slice(tensor, axis.time, 0, kept), tail: slice(tensor, axis.time, kept, frames) };
    });
    this.#tails = done.map(({ tail }) => tail);
    return done.map(({ kept }) => kept);
  }

  /** Keeps a copy of what the next tile shares with this one, whose buffer is given away. */
  #keep(tile: Tensor): Tensor {
    const frames = lengthOf(tile, axis.time);
    this.#shared = slice(tile, axis.time, Math.min(this.#step.input, frames), frames);
    return tile;
  }
}

/** Blends what the tile before has made into the first frames of the next one's, in place: frame i of n counts i/n. */
function fadeOver(tail: Tensor, next: Tensor): void {
  const [, channels = 0, frames = 0, height = 0, width = 0] = tail.shape;
  const area = height * width;
  const nextFrames = lengthOf(next, axis.time);
  for (let channel = 0; channel < channels; channel++) {
    for (let frame = 0; frame < frames; frame++) {
      const share = frame / frames;
      const from = (channel * frames + frame) * area;
      const to = (channel * nextFrames + frame) * area;
      for (let at = 0; at < area; at++) {
        next.data[to + at] = (1 - share) * (tail.data[from + at] as number) + share * (next.data[to + at] as number);
      }
    }
  }
}
