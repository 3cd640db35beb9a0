// A picture cut out of its background by its transparency.
import sharp, { type Region, type Sharp } from 'sharp';
import { MediaError } from '../errors.js';
import { createTensor, type Tensor } from '../tensor/tensor.js';
import { maxPixels } from './frame.js';
import { detectMediaKind } from './media-kind.js';
import { damaged, openImage } from './still.js';

/** Opacity, 0 to 255, from which a pixel counts as part of what is shown. */
const visibleFrom = 8;
const transparent = { r: 0, g: 0, b: 0, alpha: 0 };

/**
 * Returns what a still picture shows as [1, 4, side, side]: red, green and blue multiplied by opacity, and opacity, in [0, 1]. It is
 * as large as the square holds, in its middle; a picture without transparency is taken whole. Throws MediaError.
 */
export async function readCutout(path: string, side: number): Promise<Tensor> {
  if ((await detectMediaKind(path)) !== 'still') {
    throw new MediaError(`Expected ${path} to be a still picture, got something else. Save a frame of it as PNG.`);
  }
  const { bytes } = await openImage(path);
  const raw = (image: Sharp) =>
    image
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true })
      .catch((error: unknown) => {
        throw damaged(path, error);
      });
  const whole = await raw(
    sharp(bytes, { failOn: 'error', limitInputPixels: maxPixels }).autoOrient().toColourspace('srgb').ensureAlpha(),
  );
  const { width, height, channels } = whole.info;
  const shown = visibleBox(whole.data, width, height, channels);
  if (shown === undefined) {
    throw new MediaError(`Expected ${path} to show something, got a picture that is transparent all over.`);
  }
  const { data, info } = await raw(
    sharp(whole.data, { raw: { width, height, channels } })
      .extract(shown)
      .resize(side, side, { fit: 'contain', background: transparent })
      .toColourspace('srgb'),
  );
  const result = createTensor([1, 4, side, side]);
  const plane = side * side;
  for (let at = 0; at < plane; at++) {
    const pixel = data.subarray(at * info.channels, (at + 1) * info.channels);
    const opacity = (pixel.at(-1) as number) / 255;
    for (let colour = 0; colour < 3; colour++) {
      // A grey picture has one channel for all three.
      const level = pixel[info.channels === 4 ? colour : 0] as number;
      result.data[colour * plane + at] = (level / 255) * opacity;
    }
    result.data[3 * plane + at] = opacity;
  }
  return result;
}

/** Returns the smallest box around all pixels that are seen. */
function visibleBox(data: Uint8Array, width: number, height: number, channels: number): Region | undefined {
  let [left, top, right, bottom] = [width, height, -1, -1];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if ((data[(y * width + x + 1) * channels - 1] as number) < visibleFrom) continue;
      left = Math.min(left, x);
      right = Math.max(right, x);
      top = Math.min(top, y);
      bottom = y;
    }
  }
  return bottom < 0 ? undefined : { left, top, width: right - left + 1, height: bottom - top + 1 };
}
