// From what the VAE says of a clip to latents: one of those that it may stand for.
import type { Manifest } from '../networks/manifest.js';
import type { Posterior } from '../networks/model.js';
import type { TorchRandom } from '../tensor/random.js';
import { axis, createTensor, sizeOf, type Tensor } from '../tensor/tensor.js';

/** Returns latents [1, C, t, h, w] drawn around the mean (new tensor), or the mean itself where the VAE gives no deviation. */
export function drawLatents(manifest: Manifest, { latents, deviation }: Posterior, random: TorchRandom): Tensor {
  if (deviation === undefined) return latents;
  const drawn = sourceNoise(manifest, latents.shape, random);
  for (let at = 0; at < drawn.data.length; at++) {
    drawn.data[at] = (latents.data[at] as number) + (deviation.data[at] as number) * (drawn.data[at] as number);
  }
  return drawn;
}

/**
 * Returns noise of the shape of a source's latents [1, C, t, h, w], drawn in the order in which diffusers does: for a VAE that
 * codes each frame by itself frame after frame, else for the whole clip.
 */
export function sourceNoise({ latent }: Manifest, shape: readonly number[], random: TorchRandom): Tensor {
  if (latent.temporalCompression > 1) return random.normal(shape);
  const [, channels = 1, frames = 1] = shape;
  const plane = sizeOf(shape.slice(axis.height));
  const { data } = random.normal([frames, channels, plane]);
  const noise = createTensor(shape);
  for (let frame = 0; frame < frames; frame++) {
    for (let channel = 0; channel < channels; channel++) {
      const from = (frame * channels + channel) * plane;
      noise.data.set(data.subarray(from, from + plane), (channel * frames + frame) * plane);
    }
  }
  return noise;
}
