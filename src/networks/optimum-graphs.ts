// Gives the graphs of an optimum folder the inputs and outputs that a bundle's have: pictures as clips of one frame, latents
// of unit variance.
import { NetworkError } from '../errors.js';
import type { GraphName } from './bundle-layout.js';
import type { OptimumLayout } from './optimum-folder.js';
import type { GraphInfo, NetworkSession, NetworkStream, NetworkTensor, RunOptions, TensorInfo } from './session.js';

type Tensors = Readonly<Record<string, NetworkTensor>>;

/** How the calls of one graph are put: the names on either side, and the tensors. */
interface Translation extends GraphInfo {
  feeds(feeds: Tensors): Record<string, NetworkTensor>;
  results(results: Tensors): Record<string, NetworkTensor>;
}

/** Returns a session that takes and gives what a bundle's graph does. What the graph has beyond that is left as it is, for who checks. */
export function translateOptimum(session: NetworkSession, graph: GraphName, layout: OptimumLayout): NetworkSession {
  const translation = translationOf(session, graph, layout);
  const run = async (feeds: Tensors, options?: RunOptions) =>
    translation.results(await session.run(translation.feeds(feeds), options));
  return {
    inputs: translation.inputs,
    outputs: translation.outputs,
    first: undefined,
    run,
    openStream: async (): Promise<NetworkStream> => ({ run, close: async () => {} }),
    release: () => session.release(),
  };
}

function translationOf(session: GraphInfo, graph: GraphName, layout: OptimumLayout): Translation {
  if (graph === 'textEncoder') return textEncoder(session);
  if (graph === 'denoiser') return denoiser(session, layout);
  return graph === 'vaeEncoder' ? vaeEncoder(session, layout) : vaeDecoder(session, layout);
}

/** Padding is read as text: these encoders have no mask. */
function textEncoder({ inputs, outputs }: GraphInfo): Translation {
  return {
    inputs: [...inputs, { name: 'attention_mask', type: 'int64', shape: ['batch', 'tokens'] }],
    outputs: renamed(
      outputs.filter(({ name }) => name !== 'pooler_output'),
      { last_hidden_state: (info) => ({ ...info, name: 'prompt_embeds' }) },
    ),
    feeds: ({ input_ids }) => ({ input_ids: taken(input_ids) }),
    results: ({ last_hidden_state }) => ({ prompt_embeds: taken(last_hidden_state) }),
  };
}

function denoiser({ inputs, outputs }: GraphInfo, { spatialCompression, guidanceWidth }: OptimumLayout): Translation {
  const timestep = inputs.find(({ name }) => name === 'timestep');
  const channels = inputs.find(({ name }) => name === 'sample')?.shape[1];
  const predicted = outputs.find(({ name }) => name === 'out_sample')?.shape[1];
  const isShown = typeof channels === 'number' && typeof predicted === 'number' && channels > predicted;
  const takesSize = inputs.some(({ name }) => name === 'time_ids');
  const latents = (info: TensorInfo): TensorInfo =>
    asClip({ ...info, name: 'latents', shape: info.shape.with(1, predicted ?? 'channels') });
  const shown: TensorInfo[] = inputs
    .filter(({ name }) => isShown && name === 'sample')
    .flatMap((info) => [
      { ...latents(info), name: 'condition_latents' },
      { ...latents(info), name: 'condition_mask', shape: latents(info).shape.with(1, 1) },
    ]);
  return {
    inputs: [
      ...renamed(
        inputs.filter(({ name }) => name !== 'time_ids'),
        {
          sample: latents,
          text_embeds: (info) => ({ ...info, name: 'pooled_embeds' }),
          timestep: (info) => ({ ...info, shape: ['batch'] }),
          encoder_hidden_states: (info) => ({ ...info, name: 'prompt_embeds' }),
          timestep_cond: (info) => ({ ...info, name: 'guidance', shape: ['batch'] }),
        },
      ),
      ...shown,
    ],
    outputs: renamed(outputs, { out_sample: (info) => asClip({ ...info, name: 'prediction' }) }),
    feeds(feeds) {
      const time = taken(feeds.timestep);
      // One timestep for all of the batch: the first is any of them.
      const scalar = { ...time, data: time.data.subarray(0, 1), shape: timestep?.shape.length === 0 ? [] : [1] };
      const sample = isShown
        ? joinChannels([
            floats(feeds.latents),
            scaled(floats(feeds.condition_mask), -1, 1),
            floats(feeds.condition_latents),
          ])
        : floats(feeds.latents);
      return {
        sample: asPicture(sample),
        timestep: scalar as NetworkTensor,
        encoder_hidden_states: taken(feeds.prompt_embeds),
        ...(guidanceWidth === undefined
          ? {}
          : { timestep_cond: embedGuidance(floats(feeds.guidance).data, guidanceWidth) }),
        ...(takesSize
          ? { text_embeds: taken(feeds.pooled_embeds), time_ids: pictureSize(sample.shape, spatialCompression) }
          : {}),
      };
    },
    results: ({ out_sample }) => ({ prediction: pictureAsClip(floats(out_sample)) }),
  };
}

/** Returns what a distilled model reads guidance scales from, [B, width] (arXiv 2310.04378, section 4.1). */
function embedGuidance(scales: Float32Array, width: number): NetworkTensor {
  const half = Math.floor(width / 2);
  const data = new Float32Array(scales.length * width);
  for (const [row, scale] of scales.entries()) {
    for (let at = 0; at < half; at++) {
      // Sines of numbers in the thousands: in float32 as diffusers has them, or they differ.
      const frequency = Math.fround(Math.exp((-at * Math.log(10_000)) / (half - 1)));
      const angle = Math.fround(Math.fround((scale - 1) * 1000) * frequency);
      data[row * width + at] = Math.sin(angle);
      data[row * width + half + at] = Math.cos(angle);
    }
  }
  return { type: 'float32', data, shape: [scales.length, width] };
}

/** Returns the picture's size as it was and as it is to be, and where it was cropped: all of it, [B, 6]. */
function pictureSize([batch = 1, , , height = 0, width = 0]: readonly number[], scale: number): NetworkTensor {
  const row = [height * scale, width * scale, 0, 0, height * scale, width * scale];
  const data = Float32Array.from({ length: batch * row.length }, (_, at) => row[at % row.length] as number);
  return { type: 'float32', data, shape: [batch, row.length] };
}

/** Bounds of the logarithm of the variance, as in diffusers' DiagonalGaussianDistribution. */
const lowestLogarithm = -30;
const highestLogarithm = 20;

function vaeEncoder({ inputs, outputs }: GraphInfo, { scalingFactor }: OptimumLayout): Translation {
  const halved = (info: TensorInfo): TensorInfo => {
    const [, channels] = info.shape;
    return asClip({ ...info, shape: info.shape.with(1, typeof channels === 'number' ? channels / 2 : 'channels') });
  };
  return {
    inputs: renamed(inputs, { sample: (info) => asClip({ ...info, name: 'pixels' }) }),
    outputs: outputs.flatMap((info) => {
      if (info.name === 'latent_sample') return [asClip({ ...info, name: 'latents' })];
      if (info.name !== 'latent_parameters') return [info];
      return ['latents', 'latents_std'].map((name) => ({ ...halved(info), name }));
    }),
    feeds: ({ pixels }) => ({ sample: asPicture(floats(pixels)) }),
    results({ latent_parameters: parameters, latent_sample: sample }): Record<string, NetworkTensor> {
      // Older exports draw the latents themselves.
      if (parameters === undefined) return { latents: pictureAsClip(scaled(floats(sample), scalingFactor)) };
      const [mean, logarithm] = halveChannels(floats(parameters));
      const deviation = logarithm.data.map(
        (value) => scalingFactor * Math.exp(Math.min(highestLogarithm, Math.max(lowestLogarithm, value)) / 2),
      );
      return {
        latents: pictureAsClip(scaled(mean, scalingFactor)),
        latents_std: pictureAsClip({ ...logarithm, data: deviation }),
      };
    },
  };
}

function vaeDecoder({ inputs, outputs }: GraphInfo, { scalingFactor }: OptimumLayout): Translation {
  return {
    inputs: renamed(inputs, { latent_sample: (info) => asClip({ ...info, name: 'latents' }) }),
    outputs: renamed(outputs, { sample: (info) => asClip({ ...info, name: 'pixels' }) }),
    feeds: ({ latents }) => ({ latent_sample: scaled(asPicture(floats(latents)), 1 / scalingFactor) }),
    results: ({ sample }) => ({ pixels: pictureAsClip(floats(sample)) }),
  };
}

type FloatTensor = Extract<NetworkTensor, { type: 'float32' }>;

function renamed(
  tensors: readonly TensorInfo[],
  names: Readonly<Record<string, (info: TensorInfo) => TensorInfo>>,
): TensorInfo[] {
  return tensors.map((info) => names[info.name]?.(info) ?? info);
}

/** Returns [B, C, 1, H, W] for [B, C, H, W]. */
function asClip(info: TensorInfo): TensorInfo {
  return { ...info, shape: info.shape.toSpliced(2, 0, 1) };
}

function pictureAsClip(tensor: FloatTensor): FloatTensor {
  return { ...tensor, shape: tensor.shape.toSpliced(2, 0, 1) };
}

/** Returns [B, C, H, W] for [B, C, 1, H, W]. */
function asPicture(tensor: FloatTensor): FloatTensor {
  return { ...tensor, shape: tensor.shape.toSpliced(2, 1) };
}

/** Returns factor·x + offset (new tensor). */
function scaled(tensor: FloatTensor, factor: number, offset = 0): FloatTensor {
  return { ...tensor, data: tensor.data.map((value) => factor * value + offset) };
}

/** Returns the two halves along the channels of [B, C, ...] (new tensors). */
function halveChannels({ data, shape }: FloatTensor): [FloatTensor, FloatTensor] {
  const [batch = 1, channels = 2] = shape;
  const size = data.length / batch / 2;
  const half = (second: number): FloatTensor => {
    const result = new Float32Array(data.length / 2);
    for (let row = 0; row < batch; row++) {
      const start = (2 * row + second) * size;
      result.set(data.subarray(start, start + size), row * size);
    }
    return { type: 'float32', data: result, shape: shape.with(1, channels / 2) };
  };
  return [half(0), half(1)];
}

/** Returns tensors [B, C, ...] joined along their channels (new tensor). */
function joinChannels(tensors: readonly FloatTensor[]): FloatTensor {
  const [first] = tensors as [FloatTensor];
  const [batch = 1] = first.shape;
  const data = new Float32Array(tensors.reduce((sum, tensor) => sum + tensor.data.length, 0));
  let at = 0;
  for (let row = 0; row < batch; row++) {
    for (const tensor of tensors) {
      const size = tensor.data.length / batch;
      data.set(tensor.data.subarray(row * size, (row + 1) * size), at);
      at += size;
    }
  }
  const channels = tensors.reduce((sum, { shape }) => sum + (shape[1] ?? 0), 0);
  return { type: 'float32', data, shape: first.shape.with(1, channels) };
}

/** Returns a tensor that was checked to be there when the graph was opened. */
function taken(tensor: NetworkTensor | undefined): NetworkTensor {
  if (tensor === undefined)
    throw new NetworkError('Expected the graph to give what it lists, got less. Export it again.');
  return tensor;
}

function floats(tensor: NetworkTensor | undefined): FloatTensor {
  const found = taken(tensor);
  if (found.type === 'float32') return found;
  throw new NetworkError(`Expected the graph to give float32, got ${found.type}. Export it again.`);
}
