// VAE encode, VAE decode and one guided denoise step against PyTorch, on the same weights and inputs.
import { loadModel } from '../../src/networks/load-model.js';
import type { Model } from '../../src/networks/model.js';
import { createTensor, type Tensor } from '../../src/tensor/tensor.js';
import { join } from '../networks/tiny-model.js';
import { denoiseStep } from './denoise-step.js';
import { type Benchmark, type Comparison, inTurns, type Setting, secondsOf } from './result.js';
import type { TorchNetwork, TorchProcess } from './torch.js';

/** One network, as both sides run it. */
interface Case {
  readonly name: string;
  readonly network: TorchNetwork;
  /** What PyTorch is given. */
  readonly inputs: Readonly<Record<string, Tensor>>;
  /** Returns the output by our own code path. */
  ours(): Promise<Tensor>;
}

/** How much PyTorch computes in bfloat16, and by how much its output may then differ (root mean square, as a share). */
const precisions = [
  { name: 'PyTorch fp32', bfloat16: false, tolerance: 1e-4 },
  { name: 'PyTorch bf16 autocast', bfloat16: true, tolerance: 0.1 },
] as const;

export const networks: Benchmark = {
  name: 'networks',
  async run(setting) {
    const model = await loadModel(setting.model, { device: 'cpu', threads: setting.threads });
    try {
      const torch = await setting.startTorch();
      try {
        const rows: Comparison[] = [];
        for (const one of await cases(model)) rows.push(...(await compare(one, torch, setting)));
        return rows;
      } finally {
        if (typeof torch !== 'string') await torch.close();
      }
    } finally {
      await model.close();
    }
  },
};

async function compare(one: Case, torch: TorchProcess | string, { repeats }: Setting): Promise<Comparison[]> {
  const { name, network, inputs } = one;
  const output = await one.ours();
  const ours = () => secondsOf(one.ours);
  if (typeof torch === 'string') {
    const [seconds = []] = await inTurns(repeats, [ours]);
    return [{ name, against: 'PyTorch', unit: 'seconds', ours: seconds, theirs: [], note: torch }];
  }
  await torch.prepare(network, inputs);
  const notes: string[] = [];
  for (const { name: precision, bfloat16, tolerance } of precisions) {
    const difference = relativeDifference(output, await torch.output(network, bfloat16, output.shape));
    if (!(difference <= tolerance)) {
      throw new Error(`Expected ${name} to differ from ${precision} by at most ${tolerance}, got ${difference}.`);
    }
    notes.push(`PyTorch ${torch.version}, outputs differ by ${difference.toExponential(1)} of their root mean square`);
  }
  const theirs = precisions.map((precision) => () => torch.seconds(network, precision.bfloat16));
  const [seconds = [], ...others] = await inTurns(repeats, [ours, ...theirs]);
  return precisions.map((precision, index) => ({
    name,
    against: precision.name,
    unit: 'seconds',
    ours: seconds,
    theirs: others[index] ?? [],
    note: notes[index],
  }));
}

/** Returns the root mean square of the difference as a share of that of the second tensor. */
function relativeDifference(a: Tensor, b: Tensor): number {
  let differences = 0;
  let squares = 0;
  for (const [index, value] of b.data.entries()) {
    differences += ((a.data[index] as number) - value) ** 2;
    squares += value ** 2;
  }
  return Math.sqrt(differences / squares);
}

async function cases(model: Model): Promise<Case[]> {
  const { defaults } = model.manifest;
  const { width, height, numFrames } = defaults;
  const size = `${numFrames} frames of ${width}x${height}`;
  const pixels = wavingPixels([1, 3, numFrames, height, width]);
  const latents = await join(model.encode(one(pixels)));
  return [
    {
      name: `VAE encode, ${size}`,
      network: 'vae_encoder',
      inputs: { pixels },
      ours: () => join(model.encode(one(pixels))),
    },
    {
      name: `VAE decode, ${size}`,
      network: 'vae_decoder',
      inputs: { latents },
      ours: () => join(model.decode(one(latents))),
    },
    { name: `guided denoise step, ${size}`, network: 'denoise_step', ...(await denoiseStep(model)) },
  ];
}

/** Returns a moving picture with detail at several scales, so that no part of the network has nothing to do. */
function wavingPixels(shape: readonly number[]): Tensor {
  const pixels = createTensor(shape);
  const [, channels = 0, frames = 0, height = 0, width = 0] = shape;
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
