// A picture in memory, and the checks that every size passes.
import { expected, InvalidOptionError } from '../errors.js';

/** One picture: RGB, 8 bits a channel, rows from top to bottom, `data[(y * width + x) * 3 + channel]`. */
export interface Frame {
  width: number;
  height: number;
  data: Uint8Array;
}

/** Largest width or height that is read or written. */
export const maxSide = 8192;
/** Largest number of pixels of a frame that is read or written: phones take pictures of 48 and 50 megapixels. */
export const maxPixels = 52_000_000;
/** The two limits in words, for messages. */
export const sizeLimit = `at most ${maxSide} on a side and ${maxPixels / 1e6} megapixels`;

/** Returns whether a frame of this size is within the limits. */
export function isWithinLimits(width: number, height: number): boolean {
  return width <= maxSide && height <= maxSide && width * height <= maxPixels;
}

/** Throws InvalidOptionError unless width and height are positive whole numbers within the limits. */
export function checkSize(width: number, height: number): void {
  for (const [name, value] of [
    ['width', width],
    ['height', height],
  ] as const) {
    if (!Number.isInteger(value) || value < 1) {
      throw new InvalidOptionError(expected(name, 'a whole number of at least 1', value));
    }
  }
  if (!isWithinLimits(width, height)) {
    throw new InvalidOptionError(expected('frame size', sizeLimit, `${width}x${height}`));
  }
}

/** Throws InvalidOptionError unless the value is a finite number above zero. */
export function checkFrameRate(frameRate: number): void {
  if (!(Number.isFinite(frameRate) && frameRate > 0 && frameRate <= 1000)) {
    throw new InvalidOptionError(expected('frameRate', 'above 0 and at most 1000 frames a second', frameRate));
  }
}
