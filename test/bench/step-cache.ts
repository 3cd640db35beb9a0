// Clips with and without the step cache: seconds, calls saved, and how far the clips are apart.
import { textToVideo } from '../../pipelines/text-to-video.js';
import { CallCount } from '../../src/diffusion/step-cache.js';
import { loadModel } from '../../src/networks/load-model.js';
import type { Model } from '../../src/networks/model.js';
import { type Benchmark, secondsOf } from './result.js';

const steps = 20;
/** What a clip made with the cache must come to, held against the one made without: decibels, and share of calls saved. */
const goal = { psnr: 35, saved: 1 / 3 };

/** Things, scenes, motions and styles of the bundled model's world. */
const prompts = [
  'a chicken on a beach',
  'a fox in the snow',
  'a rocket flying in space',
  'a pumpkin in a forest',
  'a robot in the city, pencil sketch',
  'a balloon rising at sunset',
  'a fish swimming in the sea',
  'a car driving to the left in a desert',
  'a cake spinning',
  'a frog jumping in a meadow, watercolor',
  'a butterfly in a garden, comic style',
  'a boat under the stars',
  'a panda growing in the woods, pixel art',
  'a dog running to the right in a park',
  'an apple falling, neon',
  'a cat in the night sky, sepia',
];

/** A clip's frames in one row, and what they took. */
interface Made {
  readonly frames: Buffer;
  readonly seconds: number;
  readonly count: CallCount;
}

/** `--cache auto` on sixteen prompts. */
export const stepCache: Benchmark = {
  name: 'step cache',
  async run(setting) {
    const model = await loadModel(setting.model, { device: 'cpu', threads: setting.threads });
    try {
      await make(model, 0, 'off');
      const cached: Made[] = [];
      const whole: Made[] = [];
      for (const index of prompts.keys()) {
        const ways = [
          async () => cached.push(await make(model, index, 'auto')),
          async () => whole.push(await make(model, index, 'off')),
        ];
        for (const way of index % 2 === 0 ? ways : ways.reverse()) await way();
      }
      return [
        {
          name: `a clip of ${steps} steps with --cache auto, ${prompts.length} prompts`,
          against: 'without',
          unit: 'seconds',
          ours: cached.map(({ seconds }) => seconds),
          theirs: whole.map(({ seconds }) => seconds),
          note: describe(cached, whole),
        },
      ];
    } finally {
      await model.close();
    }
  },
};

async function make(model: Model, index: number, cache: 'auto' | 'off'): Promise<Made> {
  const count = new CallCount();
  const frames: Uint8Array[] = [];
  const seconds = await secondsOf(async () => {
    const options = { prompt: prompts[index] as string, steps, seed: 7 + index, cache };
    const clip = await textToVideo.run(model, options, { calls: count });
    for await (const { data } of clip.frames) frames.push(data);
  });
  return { frames: Buffer.concat(frames), seconds, count };
}

function describe(cached: readonly Made[], whole: readonly Made[]): string {
  const decibels = cached.map(({ frames }, index) => psnr(frames, (whole[index] as Made).frames));
  const saved = cached.map(({ count }) => count.saved / (count.made + count.saved));
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const good = decibels.filter((value) => value >= goal.psnr).length;
  return (
    `${percent(mean(saved))} of the network calls saved (${percent(Math.min(...saved))} to ${percent(Math.max(...saved))}; ` +
    `goal ${percent(goal.saved)}); PSNR to the clip without ${mean(decibels).toFixed(1)} dB, at least ` +
    `${Math.min(...decibels).toFixed(1)}; ${good} of ${decibels.length} at ${goal.psnr} or more`
  );
}

function percent(share: number): string {
  return `${(100 * share).toFixed(0)} %`;
}

/** Returns the peak signal-to-noise ratio of two rows of bytes; Infinity for equal ones. */
function psnr(a: Uint8Array, b: Uint8Array): number {
  let sum = 0;
  for (const [index, value] of a.entries()) sum += (value - (b[index] as number)) ** 2;
  return 10 * Math.log10(255 ** 2 / (sum / a.length));
}
