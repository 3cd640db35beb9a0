// Skips network calls whose answer can be foretold from the calls before. The rule is EasyCache's (Zhou et al. 2025,
// arXiv 2507.02860): it looks at a network's input and output alone, so that any denoiser will do.
import { distance, norm, weightedSum } from '../tensor/math.js';
import type { Tensor } from '../tensor/tensor.js';
import type { Predict } from './denoise.js';

/** How far the prediction may have moved since the last network call before the next one is made, as a share of itself;
 * 'auto' is a share that was chosen by measurement. */
export type CacheSetting = 'off' | 'auto' | number;

/** What 'auto' stands for: see docs/benchmarks.md for what it saves and what it costs. */
const autoThreshold = 0.25;

/** How much of the prediction's last change over time is taken to go on. All of it overshoots where the change turns, none
 * lags behind: of 0, 0.5 and 1, 0.5 came nearest to the uncached clip wherever the skipped calls lay. */
const damping = 0.5;

/** Share of the calls, at the front, that are always made: what a clip shows is settled there, and a small error may change it. (Of 16
 * clips one came out otherwise without this, and none with it.) */
const settlingShare = 0.3;

/** Calls foretold in a row at most: how fast the prediction moves is known from network calls only, and may have changed since. */
const mostInARow = 3;

/** Network calls of a run: those that were made and those that were foretold instead. */
export class CallCount {
  made = 0;
  saved = 0;
}

/** A network call that was made. */
interface Answer {
  readonly latents: Tensor;
  readonly timestep: number;
  readonly prediction: Tensor;
}

/**
 * Returns a prediction that calls the network only where its answer would have moved by more than the threshold. The first
 * three tenths of the calls, the last one and each fourth in a row are always made. `regime` names what a call's answer depends on besides latents and time:
 * where it changes, nothing is foretold from the calls before.
 */
export function foretelling(
  predict: Predict,
  setting: CacheSetting,
  calls: number,
  regime: (call: number) => unknown,
  count: CallCount,
): Predict {
  if (setting === 'off') return counting(predict, count);
  const first = Math.max(2, Math.ceil(settlingShare * calls));
  const threshold = setting === 'auto' ? autoThreshold : setting;
  let known: [before: Answer, last: Answer] | [last: Answer] | [] = [];
  /** The latents of the call before, made or not, and the movement foretold since the last one made. */
  let previous: Tensor | undefined;
  let moved = 0;
  let inARow = 0;
  return async (latents, timestep, call) => {
    if (call > 0 && regime(call) !== regime(call - 1)) known = [];
    if (known.length === 2 && previous !== undefined && inARow < mostInARow && call >= first && call < calls - 1) {
      moved += movement(known, previous, latents);
      // A movement that is no number (of a prediction that is nothing but zeros) is not below it either.
      if (moved < threshold) {
        previous = latents;
        count.saved++;
        inARow++;
        return extrapolate(known, timestep);
      }
    }
    const prediction = await predict(latents, timestep, call);
    count.made++;
    const answer = { latents, timestep, prediction };
    const last = known.at(-1);
    known = last === undefined ? [answer] : [last, answer];
    previous = latents;
    moved = 0;
    inARow = 0;
    return prediction;
  };
}

function counting(predict: Predict, count: CallCount): Predict {
  return async (latents, timestep, call) => {
    const prediction = await predict(latents, timestep, call);
    count.made++;
    return prediction;
  };
}

/** Returns how far the prediction is likely to move between two latents, as a share of it: as much for each step of the
 * latents as between the last two network calls (equations 4 and 6 of the paper). */
function movement([before, last]: readonly [Answer, Answer], from: Tensor, to: Tensor): number {
  const rate = distance(last.prediction, before.prediction) / distance(last.latents, before.latents);
  return (rate * distance(to, from)) / norm(last.prediction);
}

/** Returns the prediction at a timestep on the damped line through the last two (new tensor). */
function extrapolate([before, last]: readonly [Answer, Answer], timestep: number): Tensor {
  // Second-order methods ask twice at one timestep.
  const between = last.timestep - before.timestep;
  const share = between === 0 ? 0 : (damping * (timestep - last.timestep)) / between;
  return weightedSum([1 + share, last.prediction], [-share, before.prediction]);
}
