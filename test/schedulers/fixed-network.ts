// The network of models/goldens/make_schedulers.py: a fixed function, rounded to float32 operation by operation as there.
import { createTensor, type Tensor } from '../../src/tensor/tensor.js';

const { fround } = Math;

/** Returns (0.3 + 0.4 t/1000)·x + 0.2·x/(1 + |x|) + 0.1·c, with c a fixed pattern of each element's place. */
export function predict(latents: Tensor, timestep: number): Tensor {
  const slope = fround(0.3 + (0.4 * timestep) / 1000);
  const result = createTensor(latents.shape);
  for (const [i, x] of latents.data.entries()) {
    const pattern = fround(fround(((i * 7) % 11) / 11) - 0.5);
    const bent = fround(fround(0.2) * fround(x / fround(1 + Math.abs(x))));
    result.data[i] = fround(fround(slope * x) + bent) + fround(fround(0.1) * pattern);
  }
  return result;
}
