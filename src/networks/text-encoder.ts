// Prompts in, embeddings out.
import { expected, InvalidOptionError, NetworkError } from '../errors.js';
import { createTensor } from '../tensor/tensor.js';
import type { Manifest } from './manifest.js';
import type { CallOptions, PromptEmbeds } from './model.js';
import type { NetworkSession } from './session.js';
import type { PromptTokenizer } from './tokenizer.js';

/** Returns the prompts' embeddings, padded to the longest of them or to the length that the manifest asks for. */
export async function embedPrompts(
  session: NetworkSession,
  tokenizer: PromptTokenizer,
  { graphs }: Manifest,
  prompts: readonly string[],
  options: CallOptions,
): Promise<PromptEmbeds> {
  if (prompts.length === 0) throw new InvalidOptionError(expected('prompts', 'at least one', 0));
  const { maxTokens, padding, path } = graphs.textEncoder;
  const tokenized = prompts.map((prompt) => ({ prompt, ...tokenizer.tokenize(prompt) }));
  const length = padding === 'max' ? maxTokens : Math.max(1, ...tokenized.map(({ ids }) => ids.length));
  const shape = [prompts.length, length];
  const ids = new BigInt64Array(prompts.length * length).fill(BigInt(tokenizer.padId));
  const mask = createTensor(shape);
  for (const [row, { ids: promptIds }] of tokenized.entries()) {
    ids.set(promptIds.map(BigInt), row * length);
    mask.data.fill(1, row * length, row * length + promptIds.length);
  }
  const { prompt_embeds: embeds, pooled_embeds: pooled } = await session.run(
    {
      input_ids: { type: 'int64', data: ids, shape },
      attention_mask: { type: 'int64', data: BigInt64Array.from(mask.data, BigInt), shape },
    },
    { ...options, transfer: true },
  );
  const [rows, columns] = embeds?.shape ?? [];
  if (embeds?.type !== 'float32' || embeds.shape.length !== 3 || rows !== prompts.length || columns !== length) {
    throw new NetworkError(
      expected(`prompt_embeds of ${path}`, `[${prompts.length}, ${length}, width]`, [...(embeds?.shape ?? [])]),
    );
  }
  if (pooled !== undefined && (pooled.type !== 'float32' || pooled.shape[0] !== prompts.length)) {
    throw new NetworkError(expected(`pooled_embeds of ${path}`, `[${prompts.length}, width]`, [...pooled.shape]));
  }
  return {
    pooled,
    embeds: { data: embeds.data, shape: embeds.shape },
    mask,
    truncated: tokenized.flatMap(({ prompt, cut }) => (cut === undefined ? [] : [{ prompt, cut }])),
  };
}
