// Prompts in, embeddings out.
import { expected, InvalidOptionError, NetworkError } from '../errors.js';
import { createTensor, type Tensor } from '../tensor/tensor.js';
import type { Manifest } from './manifest.js';
import type { CallOptions, PromptEmbeds } from './model.js';
import type { NetworkSession } from './session.js';
import type { PromptTokenizer, TokenizedPrompt } from './tokenizer.js';

/**
 * Returns the prompts' embeddings, padded to the longest of them or to the length that the manifest asks for. A token of weight w
 * becomes empty + w * (token - empty), with the embedding of the empty prompt at its place; pooled embeddings are not weighted.
 */
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
  const { embeds, pooled, mask } = await runEncoder(session, tokenizer, path, tokenized, length, options);
  if (tokenized.some(({ weights }) => weights.some((weight) => weight !== 1))) {
    // In a call of its own, so that prompts without brackets come out as ever.
    const empty = await runEncoder(session, tokenizer, path, [tokenizer.tokenize('')], length, options);
    applyWeights(embeds, empty.embeds, tokenized);
  }
  return {
    embeds,
    pooled,
    mask,
    truncated: tokenized.flatMap(({ prompt, cut }) => (cut === undefined ? [] : [{ prompt, cut }])),
  };
}

async function runEncoder(
  session: NetworkSession,
  tokenizer: PromptTokenizer,
  path: string,
  tokenized: readonly TokenizedPrompt[],
  length: number,
  options: CallOptions,
): Promise<{ embeds: Tensor; pooled: Tensor | undefined; mask: Tensor }> {
  const shape = [tokenized.length, length];
  const ids = new BigInt64Array(tokenized.length * length).fill(BigInt(tokenizer.padId));
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
  if (embeds?.type !== 'float32' || embeds.shape.length !== 3 || rows !== tokenized.length || columns !== length) {
    throw new NetworkError(
      expected(`prompt_embeds of ${path}`, `[${tokenized.length}, ${length}, width]`, [...(embeds?.shape ?? [])]),
    );
  }
  if (pooled !== undefined && (pooled.type !== 'float32' || pooled.shape[0] !== tokenized.length)) {
    throw new NetworkError(expected(`pooled_embeds of ${path}`, `[${tokenized.length}, width]`, [...pooled.shape]));
  }
  return { embeds: { data: embeds.data, shape: embeds.shape }, pooled, mask };
}

/** Moves tokens away from the empty prompt, or towards it, in place (compel's rule for weights above 1, ComfyUI's for all). */
function applyWeights(embeds: Tensor, empty: Tensor, tokenized: readonly TokenizedPrompt[]): void {
  const [, length = 0, width = 0] = embeds.shape;
  for (const [row, { weights }] of tokenized.entries()) {
    for (const [token, weight] of weights.entries()) {
      if (weight === 1) continue;
      for (let i = 0; i < width; i++) {
        const at = (row * length + token) * width + i;
        const base = empty.data[token * width + i] as number;
        embeds.data[at] = base + weight * ((embeds.data[at] as number) - base);
      }
    }
  }
}
