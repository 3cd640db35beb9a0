// Classifier-free guidance (Ho & Salimans 2022, arXiv 2207.12598), with rescaling (Lin et al. 2023, arXiv 2305.08891, section 3.4)
// and a limited interval (Kynkäänniemi et al. 2024, arXiv 2404.07724).
import { standardDeviation } from '../tensor/math.js';
import { createTensor, type Tensor } from '../tensor/tensor.js';

/** How strongly the prompt is followed, and when. */
export interface Guidance {
  /** unconditional + scale · (conditional - unconditional); 1 or less runs the conditional pass alone. */
  readonly scale: number;
  /** Share, in 0 to 1, by which the result's deviation is brought back to that of the conditional prediction. */
  readonly rescale: number;
  /** Share of the run, in 0 to 1, from which guidance is on. */
  readonly start: number;
  /** Share of the run, in 0 to 1, from which it is off again. */
  readonly end: number;
  /** Takes the place of `scale` in the calls of a model's second denoiser. Default: `scale`. */
  readonly scale2?: number | undefined;
}

/** Returns whether guidance is on at that network call. Bounds truncate, as in diffusers' guiders. */
export function isGuided(guidance: Guidance, call: number, calls: number): boolean {
  return guidance.scale > 1 && Math.trunc(guidance.start * calls) <= call && call < Math.trunc(guidance.end * calls);
}

/** Returns the guided prediction (new tensor) from the conditional and the unconditional one, both of batch 1. */
export function guide(conditional: Tensor, unconditional: Tensor, guidance: Guidance): Tensor {
  const result = createTensor(conditional.shape);
  const { scale } = guidance;
  for (let i = 0; i < result.data.length; i++) {
    const base = unconditional.data[i] as number;
    result.data[i] = base + scale * ((conditional.data[i] as number) - base);
  }
  if (guidance.rescale > 0) rescaleInPlace(result, conditional, guidance.rescale);
  return result;
}

function rescaleInPlace(guided: Tensor, conditional: Tensor, share: number): void {
  const deviation = standardDeviation(guided);
  if (deviation === 0) return;
  const factor = share * (standardDeviation(conditional) / deviation) + 1 - share;
  for (let i = 0; i < guided.data.length; i++) guided.data[i] = (guided.data[i] as number) * factor;
}
