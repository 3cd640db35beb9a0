// What a benchmark is and what it finds.
import type { TorchProcess } from './torch.js';

/** Our way and another one, measured in turns. */
export interface Comparison {
  readonly name: string;
  /** What ours is held against. */
  readonly against: string;
  readonly unit: 'seconds' | 'bytes';
  /** None when it can't be measured here. */
  readonly ours: readonly number[];
  /** As many as ours when measured in the same rounds; none when there is nothing to hold it against here. */
  readonly theirs: readonly number[];
  /** How it was measured, or why something is missing. */
  readonly note?: string | undefined;
}

/** What every benchmark is given. */
export interface Setting {
  /** Name or folder of the bundle. */
  readonly model: string;
  /** How often each side of a timed comparison runs, after one that is not counted. */
  readonly repeats: number;
  /** CPU threads of a network, on both sides. */
  readonly threads: number;
  /** A folder for files, removed at the end. */
  readonly folder: string;
  /** Returns PyTorch with the bundle's weights, or why there is none. The caller closes it. */
  startTorch(): Promise<TorchProcess | string>;
}

/** A few rows of the table that are measured together. */
export interface Benchmark {
  /** What `npm run bench -- NAME` chooses it by. */
  readonly name: string;
  run(setting: Setting): Promise<readonly Comparison[]>;
}

/** Three numbers that stand for some measurements. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** Returns median, least and greatest of at least one value; of an even number, the median is the mean of the middle two. */
export function spreadOf(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (index: number) => sorted[index] as number;
  const last = sorted.length - 1;
  return { median: (at(Math.floor(last / 2)) + at(Math.ceil(last / 2))) / 2, min: at(0), max: at(last) };
}

/**
 * Returns how many times as much ours takes as theirs: the ratio of the medians, and the range over the repetitions, each
 * held against its partner in the same round, or against all where there are not as many.
 */
export function ratioOf({ ours, theirs }: Comparison): Spread | undefined {
  if (theirs.length === 0) return undefined;
  const isPaired = ours.length === theirs.length;
  const { min, max } = spreadOf(
    ours.flatMap((value, round) =>
      theirs.filter((_, other) => !isPaired || other === round).map((other) => value / other),
    ),
  );
  return { median: spreadOf(ours).median / spreadOf(theirs).median, min, max };
}

/**
 * Returns what each of some ways of doing one thing came to, in their order, `repeats` times. They run in turns, and every
 * other round backwards, so that a machine that gets slower or faster meets all alike.
 */
export async function inTurns<T>(repeats: number, ways: readonly (() => Promise<T>)[]): Promise<T[][]> {
  const results: T[][] = ways.map(() => []);
  for (let round = 0; round < repeats; round++) {
    const order = [...ways.entries()];
    if (round % 2 === 1) order.reverse();
    for (const [index, way] of order) results[index]?.push(await way());
  }
  return results;
}

/** What a piece of work took, in seconds. */
export interface Cost {
  readonly wall: number;
  /** Of the processor, on all its cores. */
  readonly cpu: number;
}

/** Returns what the work took in this process, whatever else went on in it. */
export async function costOf(work: () => Promise<unknown>): Promise<Cost> {
  const before = process.cpuUsage();
  const wall = await secondsOf(work);
  const { user, system } = process.cpuUsage(before);
  return { wall, cpu: (user + system) / 1e6 };
}

/** Returns how many seconds the work took. */
export async function secondsOf(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}
