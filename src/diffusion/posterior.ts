// From what the VAE says of a clip to latents: one of those that it may stand for.
import type { Manifest } from '../networks/manifest.js';
import type { Posterior } from '../networks/model.js';
import type { TorchRandom } from '../tensor/random.js';
import { axis, createTensor, lengthOf, sizeOf, type Tensor } from '../tensor/tensor.js';

/**
 * Returns latents [1, C, t, h, w] drawn around the mean (new tensor), or the mean itself where the VAE gives no deviation.
 * Noise is drawn as diffusers does: for a VAE that codes each frame by itself frame after frame, else for the whole clip.
 */
export function drawLatents({ latent }: Manifest, { latents, deviation }: Posterior, random: TorchRandom): Tensor {
  if (deviation === undefined) return latents;
  const frames = lengthOf(latents, axis.time);
  const channels = lengthOf(latents, axis.channels);
  const plane = sizeOf(latents.shape.slice(axis.height));
  const isByFrame = latent.temporalCompression === 1;
  const { data: noise } = random.normal(isByFrame ? [frames, channels, plane] : latents.shape);
  const drawn = createTensor(latents.shape);
  for (let at = 0; at < drawn.data.length; at++) {
    const row = Math.floor(at / plane);
    const place = isByFrame ? ((row % frames) * channels + Math.floor(row / frames)) * plane + (at % plane) : at;
    drawn.data[at] = (latents.data[at] as number) + (deviation.data[at] as number) * (noise[place] as number);
  }
  return drawn;
}
