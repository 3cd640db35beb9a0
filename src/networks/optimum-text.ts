// Two text encoders of an optimum folder over one prompt, as the one text encoder that a bundle has.
import { NetworkError } from '../errors.js';
import type { NetworkSession, NetworkTensor, RunOptions, TensorInfo } from './session.js';

/** How a second text encoder reads what is tokenized for the first one. */
export interface SecondTextEncoder {
  /** Path of its graph in the folder. */
  readonly path: string;
  /** The token that fills its prompts up. */
  readonly padId: number;
  /** Outputs of both that are the layer before the last. */
  readonly embedsOutputs: readonly [first: string, second: string];
}

const pooledOutput = 'text_embeds';

/** Returns a session that gives both encoders' embeddings side by side, and the second one's of the whole prompt. */
export function joinTextEncoders(
  first: NetworkSession,
  second: NetworkSession,
  { padId, embedsOutputs }: SecondTextEncoder,
): NetworkSession {
  const [firstOutput, secondOutput] = embedsOutputs;
  const run = async (feeds: Readonly<Record<string, NetworkTensor>>, options?: RunOptions) => {
    const { input_ids: ids, attention_mask: mask } = feeds;
    if (ids?.type !== 'int64' || mask?.type !== 'int64') {
      throw new NetworkError(`Expected input_ids and attention_mask to be int64, got ${ids?.type} and ${mask?.type}.`);
    }
    const secondIds = ids.data.map((id, at) => (mask.data[at] === 1n ? id : BigInt(padId)));
    const ofFirst = await first.run({ input_ids: { ...ids, data: ids.data.slice() } }, options);
    const ofSecond = await second.run({ input_ids: { ...ids, data: secondIds } }, options);
    return {
      prompt_embeds: sideBySide(ofFirst[firstOutput], ofSecond[secondOutput]),
      pooled_embeds: floats(ofSecond[pooledOutput]),
    };
  };
  const described = (name: string, session: NetworkSession, output: string): TensorInfo[] =>
    session.outputs.filter((info) => info.name === output).map((info) => ({ ...info, name }));
  return {
    inputs: [...first.inputs, { name: 'attention_mask', type: 'int64', shape: ['batch', 'tokens'] }],
    outputs: [
      ...described('prompt_embeds', first, firstOutput).map((info) => ({
        ...info,
        shape: info.shape.with(2, 'width'),
      })),
      ...described('pooled_embeds', second, pooledOutput),
    ],
    first: undefined,
    run,
    openStream: () => first.openStream([]),
    async release() {
      await first.release();
      await second.release();
    },
  };
}

type FloatTensor = Extract<NetworkTensor, { type: 'float32' }>;

/** Returns [B, L, D1 + D2]. */
function sideBySide(left: NetworkTensor | undefined, right: NetworkTensor | undefined): FloatTensor {
  const parts = [floats(left), floats(right)];
  const [batch = 0, tokens = 0] = parts[0]?.shape ?? [];
  const widths = parts.map(({ shape }) => shape[2] ?? 0);
  const width = widths.reduce((sum, part) => sum + part, 0);
  const data = new Float32Array(batch * tokens * width);
  let start = 0;
  for (const [index, part] of parts.entries()) {
    const own = widths[index] ?? 0;
    for (let row = 0; row < batch * tokens; row++) {
      data.set(part.data.subarray(row * own, (row + 1) * own), row * width + start);
    }
    start += own;
  }
  return { type: 'float32', data, shape: [batch, tokens, width] };
}

function floats(tensor: NetworkTensor | undefined): FloatTensor {
  if (tensor?.type === 'float32') return tensor;
  throw new NetworkError(`Expected a text encoder to give float32, got ${tensor?.type ?? 'none'}. Export it again.`);
}
