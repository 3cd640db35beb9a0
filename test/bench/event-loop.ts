// The longest time that a whole restyle in this process keeps the event loop from turning.
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { videoToVideo } from '../../pipelines/video-to-video.js';
import { saveClip } from '../../src/diffusion/save.js';
import { loadModel } from '../../src/networks/load-model.js';
import type { Model } from '../../src/networks/model.js';
import { testClip } from '../media/make-media.js';
import { type Benchmark, inTurns } from './result.js';

/** What a server or a progress bar may be kept waiting, the project's own rule. */
const boundSeconds = 0.05;

/** Each takes seconds. */
const mostRounds = 3;

const [side, numFrames, frameRate] = [256, 25, 12];

export const eventLoop: Benchmark = {
  name: 'event loop',
  async run({ model: name, threads, repeats, folder }) {
    const clip = await testClip(join(folder, 'restyle.mp4'), {
      size: `${side}x${side}`,
      rate: frameRate,
      seconds: numFrames / frameRate,
    });
    const model = await loadModel(name, { device: 'cpu', threads });
    try {
      const restyle = () => longestGap(() => restyleClip(model, clip, join(folder, 'restyled.mp4')));
      await restyle();
      const [gaps = []] = await inTurns(Math.min(repeats, mostRounds), [restyle]);
      return [
        {
          name: `longest gap of the event loop in a restyle of ${numFrames} frames of ${side}x${side}`,
          against: 'our bound',
          unit: 'seconds',
          ours: gaps,
          theirs: [boundSeconds],
        },
      ];
    } finally {
      await model.close();
    }
  },
};

async function restyleClip(model: Model, input: string, output: string): Promise<void> {
  const clip = await videoToVideo.run(model, { input, prompt: 'a pencil sketch', steps: 2, guidanceScale: 1, seed: 7 });
  await saveClip(clip, output);
}

/** Returns the seconds of the longest wait of a timer of 1 ms while the work goes on. */
async function longestGap(work: () => Promise<unknown>): Promise<number> {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  await work();
  delay.disable();
  return delay.max / 1e9;
}
