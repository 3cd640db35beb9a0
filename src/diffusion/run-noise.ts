// The noise of one run, each window of it from a generator of its own.
import type { Manifest } from '../networks/manifest.js';
import type { NoiseSource } from '../schedulers/scheduler.js';
import { TorchRandom } from '../tensor/random.js';
import { axis, createTensor, sizeOf, type Tensor } from '../tensor/tensor.js';

/** A window's generator. As a source of noise for latents it draws in the order of the model. */
export class WindowNoise implements NoiseSource {
  readonly random: TorchRandom;
  readonly #isByFrame: boolean;

  constructor({ latent }: Manifest, seed: bigint) {
    this.random = new TorchRandom(seed);
    this.#isByFrame = latent.noiseOrder === 'frames';
  }

  /** Returns standard normal noise [1, C, t, h, w]. */
  normal(shape: readonly number[]): Tensor {
    if (!this.#isByFrame) return this.random.normal(shape);
    const [batch = 1, channels = 0, frames = 0] = shape;
    const plane = sizeOf(shape.slice(axis.height));
    const { data } = this.random.normal([batch, frames, channels, ...shape.slice(axis.height)]);
    const result = createTensor(shape);
    for (let row = 0; row < frames * channels; row++) {
      const from = ((row % frames) * channels + Math.floor(row / frames)) * plane;
      result.data.set(data.subarray(from, from + plane), row * plane);
    }
    return result;
  }
}

/** The generators of a run. A source of noise itself: what comes after the loop goes on where the last window ended. */
export class RunNoise implements NoiseSource {
  readonly #manifest: Manifest;
  readonly #seed: bigint;
  #last: WindowNoise;

  constructor(manifest: Manifest, seed: number) {
    this.#manifest = manifest;
    // Counted up from window to window, the largest seed would leave what numbers hold exactly.
    this.#seed = BigInt(seed);
    this.#last = new WindowNoise(manifest, this.#seed);
  }

  /** Returns the fresh generator of a window, so that windows depend on nothing but their number. */
  startWindow(index: number): WindowNoise {
    this.#last = new WindowNoise(this.#manifest, this.#seed + BigInt(index));
    return this.#last;
  }

  /** Returns standard normal noise from the generator of the window that was started last. */
  normal(shape: readonly number[]): Tensor {
    return this.#last.normal(shape);
  }
}
