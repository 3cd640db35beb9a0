// Wan's networks as the exporter writes them for the CPU, against the official modules in PyTorch, on the same random weights.
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { openSession } from '../../src/networks/open-session.js';
import type { NetworkSession, NetworkTensor } from '../../src/networks/session.js';
import { TorchRandom } from '../../src/tensor/random.js';
import { axis, concat, createTensor, slice, type Tensor } from '../../src/tensor/tensor.js';
import { relativeDifference } from './networks.js';
import { type Benchmark, type Comparison, type Cost, costOf, inTurns, type Setting } from './result.js';
import { type TorchNetwork, TorchProcess } from './torch.js';

const name = 'wan';

/** 512 tokens of clip and 64 of text for the denoiser, nine frames of 64x64 for the decoder. */
const shapes = { latents: [1, 16, 2, 32, 32], promptEmbeds: [1, 64, 768], decoded: [1, 16, 3, 8, 8] } as const;
const spatialCompression = 8;

/** Our forms of one network. */
interface Case {
  readonly name: string;
  readonly network: TorchNetwork;
  readonly inputs: Readonly<Record<string, Tensor>>;
  readonly outputShape: readonly number[];
  readonly forms: readonly { readonly name: string; run(): Promise<Tensor> }[];
}

/** Needs a Python with models/export/requirements.txt, which makes the graphs too. */
export const wan: Benchmark = {
  name,
  async run(setting) {
    const folder = join(setting.folder, name);
    await mkdir(folder);
    const torch = await TorchProcess.start(folder, setting.threads, setting.folder, name);
    if (typeof torch === 'string') {
      return [{ name, against: 'PyTorch', unit: 'seconds', ours: [], theirs: [], note: torch }];
    }
    try {
      const rows: Comparison[] = [];
      for (const open of [denoiser, decoder]) rows.push(...(await measured(open, folder, torch, setting)));
      return rows;
    } finally {
      await torch.close();
    }
  },
};

type Open = (folder: string, open: (path: string, firstPath?: string) => Promise<NetworkSession>) => Promise<Case>;

const denoiser: Open = async (folder, open) => {
  const random = new TorchRandom(7);
  const inputs = {
    latents: random.normal(shapes.latents),
    timestep: createTensor([1], Float32Array.of(700)),
    prompt_embeds: random.normal(shapes.promptEmbeds),
  };
  const form = async (dtype: string) => {
    const session = await open(join(folder, dtype, 'transformer/model.onnx'));
    const feeds = Object.fromEntries(Object.entries(inputs).map(([input, tensor]) => [input, toFeed(tensor)]));
    return { name: dtype, run: async () => toTensor((await session.run(feeds)).prediction) };
  };
  return {
    name: 'Wan transformer of 100 M weights, 512 tokens',
    network: 'denoiser',
    inputs,
    outputShape: shapes.latents,
    forms: [await form('fp32'), await form('int8')],
  };
};

const manifestPart = z.object({
  path: z.string(),
  first: z.object({ path: z.string() }),
  states: z.array(z.object({ channels: z.number(), frames: z.number(), spatialDivisor: z.number() })),
});

const decoder: Open = async (folder, open) => {
  const latents = new TorchRandom(7).normal(shapes.decoded);
  const [, , frames, height, width] = shapes.decoded;
  const described = manifestPart.parse(JSON.parse(await readFile(join(folder, 'vae_decoder.json'), 'utf8')));
  const session = await open(join(folder, described.path), join(folder, described.first.path));
  const stateShapes = described.states.map((state) => [
    1,
    state.channels,
    state.frames,
    ...[height, width].map((length) => (length * spatialCompression) / state.spatialDivisor),
  ]);
  const run = async () => {
    const stream = await session.openStream(stateShapes);
    const parts: Tensor[] = [];
    for (let frame = 0; frame < frames; frame++) {
      const given = toFeed(slice(latents, axis.time, frame, frame + 1));
      parts.push(toTensor((await stream.run({ latents: given })).pixels));
    }
    await stream.close();
    return concat(parts, axis.time);
  };
  const outputShape = [1, 3, 4 * (frames - 1) + 1, height * spatialCompression, width * spatialCompression];
  return {
    name: `Wan's VAE decoder, ${outputShape[axis.time]} frames of 64x64`,
    network: 'vae_decoder',
    inputs: { latents },
    outputShape,
    forms: [{ name: 'fp32', run }],
  };
};

async function measured(open: Open, folder: string, torch: TorchProcess, setting: Setting): Promise<Comparison[]> {
  const sessions: NetworkSession[] = [];
  try {
    const opened = await open(folder, async (path, firstPath) => {
      const session = await openSession(path, { device: 'cpu', firstPath, threads: setting.threads });
      sessions.push(session);
      return session;
    });
    return await compare(opened, torch, setting.repeats);
  } finally {
    for (const session of sessions) await session.release();
  }
}

async function compare(
  { name, network, inputs, outputShape, forms }: Case,
  torch: TorchProcess,
  repeats: number,
): Promise<Comparison[]> {
  await torch.prepare(network, inputs);
  const exact = await torch.output(network, false, outputShape);
  const differenceOf = (output: Tensor) => `${(100 * relativeDifference(output, exact)).toPrecision(2)} %`;
  const others = [
    { name: 'PyTorch fp32', bfloat16: false, note: '' },
    {
      name: 'PyTorch bf16 autocast',
      bfloat16: true,
      note: `; PyTorch in bf16 by ${differenceOf(await torch.output(network, true, outputShape))}`,
    },
  ];
  const notes: string[] = [];
  for (const { run } of forms) notes.push(`differs from PyTorch in fp32 by ${differenceOf(await run())}`);
  const costs = await inTurns<Cost>(repeats, [
    ...forms.map(
      ({ run }) =>
        () =>
          costOf(run),
    ),
    ...others.map(
      ({ bfloat16 }) =>
        () =>
          torch.cost(network, bfloat16),
    ),
  ]);
  return forms.flatMap((form, index) =>
    others.flatMap((other, number) =>
      (['wall', 'cpu'] as const).map((kind) => ({
        name: `${name}, ${form.name}, ${kind === 'cpu' ? 'CPU' : kind}`,
        against: other.name,
        unit: 'seconds' as const,
        ours: (costs[index] ?? []).map((cost) => cost[kind]),
        theirs: (costs[forms.length + number] ?? []).map((cost) => cost[kind]),
        note: kind === 'cpu' ? `${notes[index]}${other.note}; root mean square, random weights` : undefined,
      })),
    ),
  );
}

function toFeed({ data, shape }: Tensor): NetworkTensor {
  return { type: 'float32', data, shape };
}

function toTensor(value: NetworkTensor | undefined): Tensor {
  if (value?.type !== 'float32') throw new Error('Expected an output of float32.');
  return createTensor(value.shape, value.data);
}
