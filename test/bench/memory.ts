// Peak memory of a short clip and of one thirty times as long: what is bounded doesn't grow.
import { join } from 'node:path';
import { testClip } from '../media/make-media.js';
import { hasProc, needsProc, treeRssBytes } from './process-tree.js';
import { startProgram, succeed } from './program.js';
import type { Benchmark, Setting } from './result.js';

const [size, frameRate] = ['64x64', 8];
const [shortSeconds, longSeconds] = [10, 300];
const sampleMs = 20;

const jobs: readonly { name: string; arguments: readonly string[] }[] = [
  { name: 'reconstruct', arguments: [] },
  {
    name: 'restyle',
    arguments: ['a pencil sketch', '--steps', '2', '--guidance', '1', '--seed', '7'],
  },
];

/** A benchmark for each job. */
export const memory: readonly Benchmark[] = jobs.map((job) => ({
  name: `memory of ${job.name}`,
  async run(setting) {
    if (!hasProc()) throw new Error(`The memory of ffmpeg ${needsProc}.`);
    const [short, long] = [await clipOf(shortSeconds, setting), await clipOf(longSeconds, setting)];
    const peak = (input: string) => peakBytes([job.name, input, ...job.arguments], setting);
    const theirs = [await peak(short), await peak(short), await peak(short)];
    return [
      {
        name: `memory of ${job.name}, ${longSeconds} s of ${size} at ${frameRate} fps`,
        against: `${shortSeconds} s`,
        unit: 'bytes',
        ours: [await peak(long)],
        theirs,
        note: `highest sum of the resident memory of node and its ffmpegs, looked at every ${sampleMs} ms; shared pages count for each`,
      },
    ];
  },
}));

function clipOf(seconds: number, { folder }: Setting): Promise<string> {
  return testClip(join(folder, `${seconds}s.mp4`), { size, rate: frameRate, seconds });
}

/** Returns the highest memory that a run of reelspace and its children held at one time. */
async function peakBytes(arguments_: readonly string[], { model, folder }: Setting): Promise<number> {
  const output = join(folder, 'memory.mp4');
  const running = startProgram([...arguments_, '-o', output, '--model', model, '--device', 'cpu']);
  let peak = 0;
  const look = setInterval(() => {
    peak = Math.max(peak, treeRssBytes(running.child.pid ?? 0));
  }, sampleMs);
  try {
    await succeed(running);
  } finally {
    clearInterval(look);
  }
  return peak;
}
