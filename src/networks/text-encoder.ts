// Prompts in, embeddings out.
import { expected, InvalidOptionError, NetworkError } from '../errors.js';
import { axis, createTensor, lengthOf, sameShape, type Tensor } from '../tensor/tensor.js';
import type { Manifest, TextEncoderGraph } from './manifest.js';
import type { CallOptions, PromptEmbeds, PromptOptions } from './model.js';
import type { NetworkSession, NetworkTensor } from './session.js';
import type { PromptTokenizer, TokenizedPrompt } from './tokenizer.js';

/**
 * Returns the prompts' embeddings, padded to the longest of them or to the length that the manifest asks for. A token of weight w
 * becomes empty + w * (token - empty), with the embedding of the empty prompt at its place; pooled embeddings are not weighted.
 * Throws InvalidOptionError for pictures that the graph doesn't take, and for none where it does.
 */
export async function embedPrompts(
  session: NetworkSession,
  tokenizer: PromptTokenizer,
  graph: Manifest['graphs']['textEncoder'],
  prompts: readonly string[],
  { imageEmbeds, ...options }: PromptOptions,
): Promise<PromptEmbeds> {
  if (prompts.length === 0) throw new InvalidOptionError(expected('prompts', 'at least one', 0));
  assertPictures(graph, imageEmbeds, prompts.length);
  const tokenized = prompts.map((prompt) => ({ prompt, ...tokenizer.tokenize(prompt) }));
  const length = paddedLength(graph, tokenized);
  const encode = (texts: readonly TokenizedPrompt[]) =>
    runEncoder(session, tokenizer, graph.path, texts, length, imageEmbeds, options);
  const { embeds, pooled, mask } = await encode(tokenized);
  if (tokenized.some(({ weights }) => weights.some((weight) => weight !== 1))) {
    // In a call of its own, so that prompts without brackets come out as ever.
    const empty = await encode(
      (imageEmbeds === undefined ? [''] : prompts.map(() => '')).map((text) => tokenizer.tokenize(text)),
    );
    applyWeights(embeds, empty.embeds, tokenized);
  }
  return {
    embeds,
    pooled,
    mask,
    truncated: tokenized.flatMap(({ prompt, cut }) => (cut === undefined ? [] : [{ prompt, cut }])),
  };
}

/** Returns each prompt as a whole [B, P]; weights in it count for nothing. */
export async function poolPrompts(
  session: NetworkSession,
  tokenizer: PromptTokenizer,
  graph: TextEncoderGraph,
  prompts: readonly string[],
  options: CallOptions,
): Promise<Tensor> {
  const tokenized = prompts.map((prompt) => tokenizer.tokenize(prompt));
  const { feeds } = feedsOf(tokenizer, tokenized, paddedLength(graph, tokenized));
  const { pooled_embeds: pooled } = await session.run(feeds, { ...options, transfer: true });
  return assertPooled(pooled, graph.path, prompts.length);
}

function paddedLength({ maxTokens, padding }: TextEncoderGraph, tokenized: readonly TokenizedPrompt[]): number {
  return padding === 'max' ? maxTokens : Math.max(1, ...tokenized.map(({ ids }) => ids.length));
}

/** Returns what an encoder is given of prompts, filled up to that length, and their mask. */
function feedsOf(
  tokenizer: PromptTokenizer,
  tokenized: readonly TokenizedPrompt[],
  length: number,
): { feeds: Record<string, NetworkTensor>; mask: Tensor } {
  const shape = [tokenized.length, length];
  const ids = new BigInt64Array(tokenized.length * length).fill(BigInt(tokenizer.padId));
  const mask = createTensor(shape);
  for (const [row, { ids: promptIds }] of tokenized.entries()) {
    ids.set(promptIds.map(BigInt), row * length);
    mask.data.fill(1, row * length, row * length + promptIds.length);
  }
  const feeds: Record<string, NetworkTensor> = {
    input_ids: { type: 'int64', data: ids, shape },
    attention_mask: { type: 'int64', data: BigInt64Array.from(mask.data, BigInt), shape },
  };
  return { feeds, mask };
}

async function runEncoder(
  session: NetworkSession,
  tokenizer: PromptTokenizer,
  path: string,
  tokenized: readonly TokenizedPrompt[],
  length: number,
  imageEmbeds: Tensor | undefined,
  options: CallOptions,
): Promise<{ embeds: Tensor; pooled: Tensor | undefined; mask: Tensor }> {
  const { feeds, mask } = feedsOf(tokenizer, tokenized, length);
  // A copy, as what a network is fed is given away.
  if (imageEmbeds !== undefined) {
    feeds.image_embeds = { type: 'float32', data: imageEmbeds.data.slice(), shape: imageEmbeds.shape };
  }
  const results = await session.run(feeds, { ...options, transfer: true });
  const { prompt_embeds: embeds, prompt_mask: ownMask, pooled_embeds: pooled } = results;
  const count = tokenized.length;
  // An encoder that puts something around the tokens says itself what counts.
  const columns = ownMask?.shape[1] ?? length;
  if (
    embeds?.type !== 'float32' ||
    embeds.shape.length !== 3 ||
    !sameShape(embeds.shape.slice(0, 2), [count, columns]) ||
    columns < length
  ) {
    throw new NetworkError(
      expected(`prompt_embeds of ${path}`, `[${count}, ${Math.max(columns, length)}, width]`, [
        ...(embeds?.shape ?? []),
      ]),
    );
  }
  if (ownMask !== undefined && (ownMask.type !== 'float32' || !sameShape(ownMask.shape, [count, columns]))) {
    throw new NetworkError(expected(`prompt_mask of ${path}`, `[${count}, ${columns}]`, [...ownMask.shape]));
  }
  return {
    embeds: { data: embeds.data, shape: embeds.shape },
    pooled: pooled === undefined ? undefined : assertPooled(pooled, path, count),
    mask: ownMask ?? mask,
  };
}

/** Returns the pooled embeddings of so many prompts. Throws NetworkError for any other tensor. */
function assertPooled(pooled: NetworkTensor | undefined, path: string, count: number): Tensor {
  if (pooled?.type === 'float32' && pooled.shape.length === 2 && pooled.shape[0] === count) {
    return { data: pooled.data, shape: pooled.shape };
  }
  throw new NetworkError(expected(`pooled_embeds of ${path}`, `[${count}, width]`, [...(pooled?.shape ?? [])]));
}

function assertPictures(
  { inputs, path }: Manifest['graphs']['textEncoder'],
  pictures: Tensor | undefined,
  count: number,
): void {
  const isTaken = inputs?.includes('image_embeds') === true;
  if (isTaken !== (pictures !== undefined)) {
    const rule = isTaken
      ? 'given, as this model reads prompts with a picture'
      : 'left out, as this model reads prompts alone';
    throw new InvalidOptionError(expected('image embeds', rule, isTaken ? 'none' : 'some'));
  }
  if (pictures !== undefined && (pictures.shape.length !== 3 || lengthOf(pictures, axis.batch) !== count)) {
    throw new InvalidOptionError(
      expected(`image embeds for ${path}`, `[${count}, tokens, width]`, [...pictures.shape]),
    );
  }
}

/** Moves tokens away from the empty prompt, or towards it, in place (compel's rule for weights above 1, ComfyUI's for all). */
function applyWeights(embeds: Tensor, empty: Tensor, tokenized: readonly TokenizedPrompt[]): void {
  const [, length = 0, width = 0] = embeds.shape;
  for (const [row, { weights }] of tokenized.entries()) {
    // One for all prompts, or one for each, read with its picture.
    const emptyRow = lengthOf(empty, axis.batch) === 1 ? 0 : row;
    for (const [token, weight] of weights.entries()) {
      if (weight === 1) continue;
      for (let i = 0; i < width; i++) {
        const at = (row * length + token) * width + i;
        const base = empty.data[(emptyRow * length + token) * width + i] as number;
        embeds.data[at] = base + weight * ((embeds.data[at] as number) - base);
      }
    }
  }
}
