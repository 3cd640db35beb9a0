// Windows over latent time, for clips longer than the denoiser's own length.
import { expected, InvalidOptionError } from '../errors.js';
import { axis, createTensor, lengthOf, slice, type Tensor } from '../tensor/tensor.js';
import type { Predict } from './denoise.js';

/** Latent frames [start, end) of a clip. */
export interface Window {
  readonly start: number;
  readonly end: number;
}

/** Returns windows of `length` that cover 0 to `total`, each sharing at least `overlap` frames with the one before.
 * The last one is moved back so as to be of full length; a clip that fits one window gets one. */
export function planWindows(total: number, length: number, overlap: number): Window[] {
  if (overlap >= length) {
    throw new InvalidOptionError(expected('window overlap', `below the window's ${length} latent frames`, overlap));
  }
  if (total <= length) return [{ start: 0, end: total }];
  const windows: Window[] = [];
  for (let start = 0; ; start += length - overlap) {
    const end = Math.min(start + length, total);
    windows.push({ start: end - length, end });
    if (end === total) return windows;
  }
}

/** Returns how much each frame of a window counts: a ramp up over what it shares with the window before, down towards the next.
 * Weights are positive; who blends divides by their sum. */
export function windowWeights(windows: readonly Window[], index: number): Float32Array {
  const window = windows[index] as Window;
  const before = index === 0 ? 0 : (windows[index - 1] as Window).end - window.start;
  const after = index === windows.length - 1 ? 0 : window.end - (windows[index + 1] as Window).start;
  return Float32Array.from({ length: window.end - window.start }, (_, frame) =>
    Math.min(1, (frame + 1) / (before + 1), (window.end - window.start - frame) / (after + 1)),
  );
}

/** Returns a prediction over the whole clip, blended from one prediction a window (MultiDiffusion, Bar-Tal et al. 2023,
 * arXiv 2302.08113). `predictWindow` is given the window's latents and the window. */
export function jointPredict(
  windows: readonly Window[],
  predictWindow: (window: Window, ...call: Parameters<Predict>) => Promise<Tensor>,
): Predict {
  return async (latents, timestep, call) => {
    const sum = createTensor(latents.shape);
    const total = new Float32Array(lengthOf(latents, axis.time));
    for (const [index, window] of windows.entries()) {
      const part = slice(latents, axis.time, window.start, window.end);
      const prediction = await predictWindow(window, part, timestep, call);
      addWeighted(sum, total, prediction, window.start, windowWeights(windows, index));
    }
    divideFrames(sum, total);
    return sum;
  };
}

/** Adds a window's frames, each times its weight, into `sum` [1, C, T, h, w] and the weights into `total` [T]. */
export function addWeighted(
  sum: Tensor,
  total: Float32Array,
  part: Tensor,
  start: number,
  weights: Float32Array,
): void {
  const plane = lengthOf(sum, axis.height) * lengthOf(sum, axis.width);
  const frames = lengthOf(sum, axis.time);
  const channels = lengthOf(sum, axis.channels);
  for (const [frame, weight] of weights.entries()) {
    total[start + frame] = (total[start + frame] ?? 0) + weight;
    for (let channel = 0; channel < channels; channel++) {
      const to = (channel * frames + start + frame) * plane;
      const from = (channel * weights.length + frame) * plane;
      for (let i = 0; i < plane; i++) {
        sum.data[to + i] = (sum.data[to + i] as number) + weight * (part.data[from + i] as number);
      }
    }
  }
}

/** Divides each frame of `sum` [1, C, T, h, w] by its weight in `total` [T]. */
export function divideFrames(sum: Tensor, total: Float32Array): void {
  const plane = lengthOf(sum, axis.height) * lengthOf(sum, axis.width);
  for (let at = 0, row = 0; at < sum.data.length; at += plane, row++) {
    const weight = total[row % total.length] as number;
    for (let i = at; i < at + plane; i++) sum.data[i] = (sum.data[i] as number) / weight;
  }
}
