// `npm run bench [-- PART_OF_A_NAME ... --json --model NAME --repeats N --threads N]`: ours against others, side by side, as ratios.
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, cpus, loadavg, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { readBundle } from '../../src/networks/bundle.js';
import { eventLoop } from './event-loop.js';
import { frames } from './frames.js';
import { memory } from './memory.js';
import { networks } from './networks.js';
import { type Outcome, toJson, toTable } from './report.js';
import type { Benchmark, Setting } from './result.js';
import { startUp } from './start-up.js';
import { stepCache } from './step-cache.js';
import { TorchProcess } from './torch.js';
import { wan } from './wan.js';

/** Quick ones first. */
const benchmarks: readonly Benchmark[] = [eventLoop, ...networks, frames, startUp, stepCache, ...memory];

/** Run when they are named alone: these make networks of hundreds of megabytes first. */
const long: readonly Benchmark[] = [wan];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: 'boolean', default: false },
    model: { type: 'string', default: 'reel-tiny' },
    repeats: { type: 'string', default: '5' },
    threads: { type: 'string', default: String(availableParallelism()) },
  },
});
const chosen =
  positionals.length === 0
    ? benchmarks
    : [...benchmarks, ...long].filter(({ name }) => positionals.some((part) => name.includes(part)));
const [repeats, threads] = [Number(values.repeats), Number(values.threads)];
if (chosen.length === 0) {
  const names = [...benchmarks, ...long].map(({ name }) => name).join(', ');
  fail(`Expected a part of the name of a benchmark (${names}), got ${positionals.join(', ')}.`);
} else if (!(Number.isInteger(repeats) && repeats >= 1)) {
  fail(`Expected --repeats to be a whole number of at least 1, got ${values.repeats}.`);
} else if (!(Number.isInteger(threads) && threads >= 1)) {
  fail(`Expected --threads to be a whole number of at least 1, got ${values.threads}.`);
} else await main();

async function main(): Promise<void> {
  const machine = {
    cpu: cpus()[0]?.model ?? 'unknown',
    threads,
    memoryBytes: totalmem(),
    node: process.version,
    loadBefore: loadavg()[0] ?? 0,
  };
  const folder = await mkdtemp(join(tmpdir(), 'reelspace-bench-'));
  const setting: Setting = {
    model: values.model,
    repeats,
    threads,
    folder,
    startTorch: async () => TorchProcess.start((await readBundle(values.model)).path, threads, folder),
  };
  const outcomes: Outcome[] = [];
  try {
    for (const benchmark of chosen) {
      process.stderr.write(`${benchmark.name}\n`);
      outcomes.push(await outcomeOf(benchmark, setting));
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  if (values.json) {
    console.log(JSON.stringify({ machine, model: values.model, repeats, benchmarks: outcomes.map(toJson) }, null, 2));
  } else {
    const { cpu, node, loadBefore } = machine;
    console.log(`${values.model} on ${cpu}, ${threads} threads, Node ${node}. Ratios: reelspace to the other.`);
    if (loadBefore > availableParallelism() / 4)
      console.log(`The machine was busy (load ${loadBefore.toFixed(1)}): trust no time.`);
    console.log(`\n${toTable(outcomes)}`);
  }
  if (outcomes.some(({ error }) => error !== undefined)) process.exitCode = 1;
}

async function outcomeOf(benchmark: Benchmark, setting: Setting): Promise<Outcome> {
  try {
    return { name: benchmark.name, rows: await benchmark.run(setting) };
  } catch (error) {
    return { name: benchmark.name, rows: [], error: error instanceof Error ? error.message : String(error) };
  }
}

function fail(message: string): void {
  console.error(message);
  process.exitCode = 2;
}
