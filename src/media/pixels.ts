// Between 8-bit frames and pixel tensors.
import { expected, InvalidOptionError, NetworkError } from '../errors.js';
import { axis, createTensor, type Tensor } from '../tensor/tensor.js';
import type { Frame } from './frame.js';

/** The float32 value of each byte. */
const valueOfByte = Float32Array.from({ length: 256 }, (_, byte) => byte / 127.5 - 1);

/** Returns pixels [1, 3, T, H, W] in [-1, 1], a new tensor. Throws unless there is a frame and all are of one size. */
export function framesToPixels(frames: readonly Frame[]): Tensor {
  const [first] = frames;
  if (first === undefined) throw new InvalidOptionError(expected('frames', 'at least one', 0));
  const { width, height } = first;
  const plane = width * height;
  const channel = frames.length * plane;
  const pixels = createTensor([1, 3, frames.length, height, width]);
  frames.forEach((frame, time) => {
    checkFrame(frame, width, height);
    const { data } = frame;
    const red = pixels.data.subarray(time * plane, (time + 1) * plane);
    const green = pixels.data.subarray(channel + time * plane, channel + (time + 1) * plane);
    const blue = pixels.data.subarray(2 * channel + time * plane, 2 * channel + (time + 1) * plane);
    for (let i = 0, at = 0; i < plane; i++, at += 3) {
      red[i] = valueOfByte[data[at] as number] as number;
      green[i] = valueOfByte[data[at + 1] as number] as number;
      blue[i] = valueOfByte[data[at + 2] as number] as number;
    }
  });
  return pixels;
}

/**
 * Yields one new frame a time step of pixels [1, 3, T, H, W], from `start` to before `end`, each made when it is asked for:
 * a chunk of large frames at once would hold the event loop. Values beyond [-1, 1] are clamped, others rounded to the nearest
 * level, halves up. Throws NetworkError on NaN, which would else become black.
 */
export function* pixelsToFrames(pixels: Tensor, start = 0, end = pixels.shape[axis.time] ?? 0): Generator<Frame> {
  const [batch, channels, numFrames = 0, height = 0, width = 0] = pixels.shape;
  if (pixels.shape.length !== 5 || batch !== 1 || channels !== 3) {
    throw new InvalidOptionError(expected('pixels', 'of shape [1, 3, T, H, W]', [...pixels.shape]));
  }
  const plane = width * height;
  const channel = numFrames * plane;
  for (let time = start; time < end; time++) {
    const red = pixels.data.subarray(time * plane, (time + 1) * plane);
    const green = pixels.data.subarray(channel + time * plane, channel + (time + 1) * plane);
    const blue = pixels.data.subarray(2 * channel + time * plane, 2 * channel + (time + 1) * plane);
    const data = new Uint8Array(plane * 3);
    let sum = 0;
    for (let i = 0, at = 0; i < plane; i++, at += 3) {
      const r = red[i] as number;
      const g = green[i] as number;
      const b = blue[i] as number;
      sum += r + g + b;
      // Truncation after adding a half rounds, as the sum is never negative.
      data[at] = (r < -1 ? -1 : r > 1 ? 1 : r) * 127.5 + 128;
      data[at + 1] = (g < -1 ? -1 : g > 1 ? 1 : g) * 127.5 + 128;
      data[at + 2] = (b < -1 ? -1 : b > 1 ? 1 : b) * 127.5 + 128;
    }
    if (Number.isNaN(sum)) {
      throw new NetworkError('Expected pixels to be numbers, got NaN. Use fp32 weights, or a lower guidance scale.');
    }
    yield { width, height, data };
  }
}

/** Throws InvalidOptionError unless the frame has this size and as many bytes as it needs. */
export function checkFrame(frame: Frame, width: number, height: number): void {
  if (frame.width !== width || frame.height !== height) {
    throw new InvalidOptionError(expected('frame size', `${width}x${height}`, `${frame.width}x${frame.height}`));
  }
  if (frame.data.length !== width * height * 3) {
    throw new InvalidOptionError(expected('frame data', `${width * height * 3} bytes`, frame.data.length));
  }
}
