// Single pictures and masks for conditioning.
import { MediaError } from '../errors.js';
import { createTensor, type Tensor } from '../tensor/tensor.js';
import type { Frame } from './frame.js';
import { type ReadFramesOptions, readFrames } from './read-frames.js';

/** How a picture is placed in its frame. */
export type LoadImageOptions = Pick<ReadFramesOptions, 'width' | 'height' | 'fit' | 'signal'>;

/** Returns an image file, or the first frame of a video. Throws as readFrames does. */
export async function loadImage(path: string, options: LoadImageOptions = {}): Promise<Frame> {
  for await (const frame of readFrames(path, { ...options, maxFrames: 1 })) return frame;
  throw new MediaError(`Expected ${path} to hold at least one picture, got none. Check that the file is whole.`);
}

/**
 * Returns a mask [1, 1, T, H, W] of ones (where the picture is white: repaint) and zeros (black: keep), cut at half
 * brightness as diffusers does. An image gives T = 1, a video one mask a frame. Throws as readFrames does.
 */
export async function loadMask(path: string, options: ReadFramesOptions = {}): Promise<Tensor> {
  const masks: Float32Array[] = [];
  let size = { width: 0, height: 0 };
  for await (const frame of readFrames(path, options)) {
    masks.push(maskOf(frame));
    size = frame;
  }
  const mask = createTensor([1, 1, masks.length, size.height, size.width]);
  masks.forEach((values, time) => {
    mask.data.set(values, time * size.width * size.height);
  });
  return mask;
}

function maskOf({ width, height, data }: Frame): Float32Array {
  const mask = new Float32Array(width * height);
  for (let i = 0, at = 0; i < mask.length; i++, at += 3) {
    // Luma of ITU-R BT.601, the grey that image libraries use.
    const luma = 0.299 * (data[at] ?? 0) + 0.587 * (data[at + 1] ?? 0) + 0.114 * (data[at + 2] ?? 0);
    mask[i] = luma >= 127.5 ? 1 : 0;
  }
  return mask;
}
