// Sizes and frame counts that a model can take.
import { expected, InvalidOptionError } from '../errors.js';
import { frameStep, type Manifest } from '../networks/manifest.js';
import { createTensor, type Tensor } from '../tensor/tensor.js';

/** Width and height in pixels. */
export interface Size {
  readonly width: number;
  readonly height: number;
}

/** Returns the size asked for, or the model's own. Throws when it is no multiple of what the model needs. */
export function clipSize(manifest: Manifest, asked: Partial<Size>): Size {
  return checkedSize(manifest, {
    width: asked.width ?? manifest.defaults.width,
    height: asked.height ?? manifest.defaults.height,
  });
}

/** Returns the size for a source: as asked, with a missing side in the source's shape, or the source's shape with the
 * short side of the model. Only a size that was not asked for is rounded to what the model needs. */
export function sourceSize(manifest: Manifest, source: Size, asked: Partial<Size>): Size {
  const { sizeMultiple, fixedSize } = manifest.latent;
  if (fixedSize === true) return clipSize(manifest, asked);
  const rounded = (side: number) => Math.max(sizeMultiple, Math.round(side / sizeMultiple) * sizeMultiple);
  const shortSide = Math.min(manifest.defaults.width, manifest.defaults.height);
  const scale =
    asked.width !== undefined
      ? asked.width / source.width
      : asked.height !== undefined
        ? asked.height / source.height
        : shortSide / Math.min(source.width, source.height);
  return checkedSize(manifest, {
    width: asked.width ?? rounded(source.width * scale),
    height: asked.height ?? rounded(source.height * scale),
  });
}

function checkedSize(manifest: Manifest, size: Size): Size {
  const { latent, defaults } = manifest;
  const { sizeMultiple } = latent;
  for (const side of ['width', 'height'] as const) {
    const value = size[side];
    if (latent.fixedSize === true && value !== defaults[side]) {
      throw new InvalidOptionError(
        expected(side, `${defaults[side]}, as this model makes one size alone`, value, 'Leave it out.'),
      );
    }
    if (value % sizeMultiple === 0 && value > 0) continue;
    const below = Math.max(sizeMultiple, Math.floor(value / sizeMultiple) * sizeMultiple);
    throw new InvalidOptionError(
      expected(side, `a multiple of ${sizeMultiple}`, value, `The nearest are ${below} and ${below + sizeMultiple}.`),
    );
  }
  return size;
}

/** Returns the number of latent frames of a clip. Throws when the model can't make clips of that length. */
export function latentFrames(manifest: Manifest, numFrames: number): number {
  const step = frameStep(manifest);
  const steps = Math.floor((numFrames - 1) / step);
  if (steps * step === numFrames - 1) return (numFrames - 1) / manifest.latent.temporalCompression + 1;
  const below = steps * step + 1;
  throw new InvalidOptionError(
    expected(
      'frames',
      `one more than a multiple of ${step}`,
      numFrames,
      `The nearest are ${below} and ${below + step}.`,
    ),
  );
}

/** Returns how many pixel frames that many latent frames stand for. */
export function pixelFrames(manifest: Manifest, latent: number): number {
  return (latent - 1) * manifest.latent.temporalCompression + 1;
}

/** Returns how many frames are decoded in front of a clip that starts from a picture, which are no part of it. */
export function leadFrames({ latent, graphs }: Manifest): number {
  return graphs.denoiser.knownPlace === 'before' ? latent.temporalCompression : 0;
}

/** Returns the pixel frame [1, n] that each latent frame of a clip starts at, after those of frames that lie in front of it. */
export function frameStarts({ latent }: Manifest, count: number, lead: readonly number[] = []): Tensor {
  const starts = Array.from({ length: count - lead.length }, (_, frame) =>
    frame === 0 ? 0 : (frame - 1) * latent.temporalCompression + 1,
  );
  return createTensor([1, count], Float32Array.from([...lead, ...starts]));
}

/** Returns the shape [1, C, t, h, w] of a clip's latents. */
export function latentShape(manifest: Manifest, size: Size, latent: number): number[] {
  const { channels, spatialCompression } = manifest.latent;
  return [1, channels, latent, size.height / spatialCompression, size.width / spatialCompression];
}
