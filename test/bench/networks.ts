// VAE encode, VAE decode and one guided denoise step against PyTorch, on the same weights and inputs.
import { loadModel } from '../../src/networks/load-model.js';
import type { Model } from '../../src/networks/model.js';
import { createTensor, type Tensor } from '../../src/tensor/tensor.js';
import { join } from '../networks/tiny-model.js';
import { denoiseStep, type PreparedRun } from './denoise-step.js';
import { type Benchmark, type Comparison, inTurns, type Setting, secondsOf } from './result.js';
import type { TorchNetwork, TorchProcess } from './torch.js';

/** One network on the same inputs, by our own code path and in PyTorch. */
interface Case {
  /** Also what the benchmark is chosen by. */
  readonly name: string;
  readonly network: TorchNetwork;
  readonly graph: 'vaeEncoder' | 'vaeDecoder' | 'denoiser';
  prepare(model: Model): Promise<PreparedRun>;
}

const cases: readonly Case[] = [
  {
    name: 'VAE encode',
    network: 'vae_encoder',
    graph: 'vaeEncoder',
    async prepare(model) {
      const pixels = clipOf(model);
      return { inputs: { pixels }, ours: () => join(model.encode(one(pixels))) };
    },
  },
  {
    name: 'VAE decode',
    network: 'vae_decoder',
    graph: 'vaeDecoder',
    async prepare(model) {
      const latents = await join(model.encode(one(clipOf(model))));
      return { inputs: { latents }, ours: () => join(model.decode(one(latents))) };
    },
  },
  { name: 'denoise step', network: 'denoise_step', graph: 'denoiser', prepare: denoiseStep },
];

/** How much PyTorch computes in bfloat16, and by how much its output may then differ (root mean square, as a share). */
const precisions = [
  { name: 'PyTorch fp32', bfloat16: false, tolerance: 1e-4 },
  { name: 'PyTorch bf16 autocast', bfloat16: true, tolerance: 0.1 },
] as const;

/** By how much a graph in whole numbers may differ, which PyTorch has no part in. */
const wholeTolerance = 0.1;

/** A benchmark for each network. */
export const networks: readonly Benchmark[] = cases.map((network) => ({
  name: network.name,
  async run(setting) {
    const model = await loadModel(setting.model, { device: 'cpu', threads: setting.threads });
    try {
      const torch = await setting.startTorch();
      try {
        return await compare(network, model, torch, setting);
      } finally {
        if (typeof torch !== 'string') await torch.close();
      }
    } finally {
      await model.close();
    }
  },
}));

async function compare(
  { name, network, graph, prepare }: Case,
  model: Model,
  torch: TorchProcess | string,
  { repeats }: Setting,
): Promise<Comparison[]> {
  const { width, height, numFrames } = model.manifest.defaults;
  const row = { name: `${name}, ${numFrames} frames of ${width}x${height}`, unit: 'seconds' } as const;
  const { inputs, ours } = await prepare(model);
  const output = await ours();
  const timed = () => secondsOf(ours);
  if (typeof torch === 'string') {
    const [seconds = []] = await inTurns(repeats, [timed]);
    return [{ ...row, against: 'PyTorch', ours: seconds, theirs: [], note: torch }];
  }
  await torch.prepare(network, inputs);
  const notes: string[] = [];
  const isWhole = model.manifest.graphs[graph].onCpu !== undefined;
  for (const { name: precision, bfloat16, tolerance: usual } of precisions) {
    const tolerance = isWhole ? wholeTolerance : usual;
    const difference = relativeDifference(output, await torch.output(network, bfloat16, output.shape));
    if (!(difference <= tolerance)) {
      throw new Error(`Expected ${name} to differ from ${precision} by at most ${tolerance}, got ${difference}.`);
    }
    notes.push(
      `PyTorch ${torch.version}, whose output differs by ${difference.toExponential(1)} of its root mean square`,
    );
  }
  const theirs = precisions.map((precision) => () => torch.seconds(network, precision.bfloat16));
  const [seconds = [], ...others] = await inTurns(repeats, [timed, ...theirs]);
  return precisions.map((precision, index) => ({
    ...row,
    against: precision.name,
    ours: seconds,
    theirs: others[index] ?? [],
    note: notes[index],
  }));
}

/** Returns the root mean square of the difference as a share of that of the second tensor. */
export function relativeDifference(a: Tensor, b: Tensor): number {
  let differences = 0;
  let squares = 0;
  for (const [index, value] of b.data.entries()) {
    differences += ((a.data[index] as number) - value) ** 2;
    squares += value ** 2;
  }
  return Math.sqrt(differences / squares);
}

/** Returns pixels at the model's own size: a moving picture with detail at several scales, so that no part of the network has nothing to do. */
function clipOf({ manifest }: Model): Tensor {
  const { width, height, numFrames: frames } = manifest.defaults;
  const channels = 3;
  const pixels = createTensor([1, channels, frames, height, width]);
  let at = 0;
  for (let channel = 0; channel < channels; channel++) {
    for (let frame = 0; frame < frames; frame++) {
      for (let y = 0; y < height; y++) {
        for (let x = 0; x < width; x++) {
          const slow = Math.sin((x + 2 * frame) / 17 + channel) * Math.cos((y - frame) / 23);
          pixels.data[at++] = 0.6 * slow + 0.3 * Math.sin((x * y) / 61 + frame / 5 + 2 * channel);
        }
      }
    }
  }
  return pixels;
}

async function* one(tensor: Tensor): AsyncGenerator<Tensor> {
  yield tensor;
}
