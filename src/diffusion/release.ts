// Positions that are made anew for a share of a run: until then the source, noised to the level of each call, stands there.
//
// Source: Levin and Fried 2023, arXiv 2306.00950, but that a position which is due in the middle of a step takes its part of it.
import type { Schedule } from '../schedulers/scheduler.js';
import { createTensor, type Tensor } from '../tensor/tensor.js';
import { noisedFor } from './conditions.js';

/** Returns a function that is called with the latents after each call and puts the source back where `shares` [1, 1, t, h, w],
 * 0 to 1 of the run's calls, say that it is not yet due. */
export function releaseLate(
  source: Tensor,
  shares: Tensor,
  schedule: Schedule,
  noise: Tensor,
): (latents: Tensor, call: number) => Tensor {
  const calls = schedule.timesteps.length;
  const positions = shares.data.length;
  return (latents, call) => {
    const held = noisedFor(source, schedule, noise, call);
    const next = createTensor(latents.shape);
    for (let at = 0; at < next.data.length; at++) {
      const due = calls * (1 - (shares.data[at % positions] as number));
      const made = Math.min(1, Math.max(0, call - due));
      next.data[at] = (1 - made) * (held.data[at] as number) + made * (latents.data[at] as number);
    }
    return next;
  };
}
