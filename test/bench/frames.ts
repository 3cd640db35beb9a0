// Frames through readFrames and createVideoWriter against the same two ffmpeg commands joined by a pipe of the shell.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readFrames } from '../../src/media/read-frames.js';
import { createVideoWriter } from '../../src/media/write-frames.js';
import { testClip } from '../media/make-media.js';
import { childrenOf, commandLine, cpuSeconds, hasProc, needsProc } from './process-tree.js';
import { type Benchmark, type Comparison, type Cost, inTurns, type Setting } from './result.js';

const [width, height, frameRate, seconds] = [640, 360, 30, 10];
const numFrames = frameRate * seconds;

export const frames: Benchmark = {
  name: 'frames',
  async run({ repeats, folder }: Setting) {
    const clip = await testClip(join(folder, 'clip.mp4'), {
      size: `${width}x${height}`,
      rate: frameRate,
      seconds,
      options: ['-pix_fmt', 'yuv420p', '-preset', 'veryfast'],
    });
    const output = join(folder, 'ours.mp4');
    const bareOutput = join(folder, 'bare.mp4');
    if (!hasProc()) throw new Error(`The CPU time of ffmpeg ${needsProc}.`);

    const { reader, writer } = await commandsOf(() => rewrite(clip, output));
    const bareRead = `${quoted(reader)} | cat > /dev/null`;
    const bareRewrite = `${quoted(reader)} | ${quoted([...writer.slice(0, -1), bareOutput])}`;
    await shell(bareRead);
    await shell(bareRewrite);
    if (!(await readFile(output)).equals(await readFile(bareOutput))) {
      throw new Error('Expected both sides to write the same file, got two that differ.');
    }
    const [reads = [], bareReads = []] = await inTurns(repeats, [
      () => costOf(() => read(clip)),
      () => costOf(() => shell(bareRead)),
    ]);
    const [rewrites = [], bareRewrites = []] = await inTurns(repeats, [
      () => costOf(() => rewrite(clip, output)),
      () => costOf(() => shell(bareRewrite)),
    ]);
    const about = `${numFrames} frames of ${width}x${height}`;
    return [
      ...rowsOf(`read ${about}`, reads, bareReads),
      ...rowsOf(`read and write ${about}`, rewrites, bareRewrites, 'both sides write the same bytes'),
    ];
  },
};

function rowsOf(name: string, ours: readonly Cost[], theirs: readonly Cost[], note?: string): Comparison[] {
  const row = (what: string, value: (cost: Cost) => number) => ({
    name: `${name}, ${what}`,
    against: 'ffmpeg alone',
    unit: 'seconds' as const,
    ours: ours.map(value),
    theirs: theirs.map(value),
    note,
  });
  return [row('wall', ({ wall }) => wall), row('CPU', ({ cpu }) => cpu)];
}

async function costOf(work: () => Promise<unknown>): Promise<Cost> {
  const [start, startCpu] = [performance.now(), cpuSeconds()];
  await work();
  return { wall: (performance.now() - start) / 1000, cpu: cpuSeconds() - startCpu };
}

async function read(clip: string): Promise<void> {
  let count = 0;
  for await (const _ of readFrames(clip)) count++;
  if (count !== numFrames) throw new Error(`Expected ${numFrames} frames, got ${count}.`);
}

async function rewrite(clip: string, output: string): Promise<void> {
  const writer = await createVideoWriter(output, { width, height, frameRate });
  try {
    for await (const frame of readFrames(clip)) await writer.write(frame);
    await writer.finish();
  } finally {
    await writer.abort();
  }
}

/** Runs the work and returns the commands of the ffmpegs that read and wrote for it, so that the other side runs the same. */
async function commandsOf(work: () => Promise<unknown>): Promise<{ reader: string[]; writer: string[] }> {
  let reader: string[] | undefined;
  let writer: string[] | undefined;
  const look = setInterval(() => {
    for (const command of childrenOf(process.pid).map(commandLine)) {
      if (command.includes('pipe:0')) writer = command;
      else if (command.at(-1) === 'pipe:1' && command.includes('rawvideo')) reader = command;
    }
  }, 10);
  try {
    await work();
  } finally {
    clearInterval(look);
  }
  if (reader === undefined || writer === undefined)
    throw new Error('Expected ffmpeg to be seen at work, got no sight of it.');
  return { reader, writer };
}

async function shell(command: string): Promise<void> {
  const child = spawn('sh', ['-c', command], { stdio: ['ignore', 'ignore', 'inherit'] });
  const [code] = await once(child, 'exit');
  if (code !== 0) throw new Error(`Expected ${command} to succeed, got exit code ${code}.`);
}

function quoted(words: readonly string[]): string {
  return words.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(' ');
}
