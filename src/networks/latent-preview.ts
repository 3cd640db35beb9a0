// A cheap look at latents: a linear map to colours, without the VAE. One pixel a latent position.
import { expected, InvalidOptionError } from '../errors.js';
import type { Tensor } from '../tensor/tensor.js';
import type { Manifest } from './manifest.js';

/** A small picture of 3 bytes a pixel, red, green and blue, row by row from the top. */
export interface PreviewFrame {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

/**
 * Returns a picture of one latent frame of [1, C, t, h, w], or undefined when the model's manifest has no map for it.
 * The map is that of manifest.latent.rgb, fitted when the model was exported.
 */
export function previewFrame(manifest: Manifest, latents: Tensor, latentFrame = 0): PreviewFrame | undefined {
  const map = manifest.latent.rgb;
  if (map === undefined) return undefined;
  const [batch = 0, channels = 0, frames = 0, height = 0, width = 0] = latents.shape;
  if (latents.shape.length !== 5 || batch !== 1 || channels !== map.weights.length) {
    throw new InvalidOptionError(expected('latents', `[1, ${map.weights.length}, t, h, w]`, [...latents.shape]));
  }
  if (!Number.isInteger(latentFrame) || latentFrame < 0 || latentFrame >= frames) {
    throw new InvalidOptionError(expected('latent frame', `a whole number below ${frames}`, latentFrame));
  }
  const area = height * width;
  const colours = [0, 1, 2].map((colour) => new Float64Array(area).fill(map.bias[colour] ?? 0));
  for (const [channel, weights] of map.weights.entries()) {
    const plane = latents.data.subarray((channel * frames + latentFrame) * area);
    for (const [colour, sums] of colours.entries()) {
      const weight = weights[colour] ?? 0;
      for (let at = 0; at < area; at++) sums[at] = (sums[at] as number) + weight * (plane[at] as number);
    }
  }
  // The clamping array rounds and keeps to 0 to 255.
  const data = new Uint8ClampedArray(area * 3);
  for (const [colour, sums] of colours.entries()) {
    for (let at = 0; at < area; at++) data[at * 3 + colour] = (((sums[at] as number) + 1) / 2) * 255;
  }
  return { width, height, data: new Uint8Array(data.buffer) };
}
