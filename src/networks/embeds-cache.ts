// Embeddings of the prompts that were asked for last: other seeds and settings need the text encoder no more.
import { createHash } from 'node:crypto';
import type { Tensor } from '../tensor/tensor.js';
import type { PromptEmbeds } from './model.js';

/** Enough for a handful of prompts of the largest text encoders (8 MB each). */
const mostBytes = 64 * 2 ** 20;

/** Keeps the embeddings of lists of prompts, and of the pictures that they were read with; the list as a whole is the key, because
 * padding follows its longest prompt. */
export class EmbedsCache {
  /** Least recently used first. */
  readonly #kept = new Map<string, PromptEmbeds>();

  /** Returns the embeddings of exactly these prompts and pictures, if they are kept; not to be written to. */
  get(prompts: readonly string[], pictures?: Tensor): PromptEmbeds | undefined {
    const key = keyOf(prompts, pictures);
    const found = this.#kept.get(key);
    if (found === undefined) return undefined;
    this.#kept.delete(key);
    this.#kept.set(key, found);
    return found;
  }

  /** Keeps embeddings, and drops those that were not used for longest while all together take more than 64 MiB. */
  set(prompts: readonly string[], embeds: PromptEmbeds, pictures?: Tensor): void {
    this.#kept.set(keyOf(prompts, pictures), embeds);
    let bytes = 0;
    for (const [key, { embeds: kept }] of [...this.#kept].reverse()) {
      bytes += kept.data.byteLength;
      if (bytes > mostBytes) this.#kept.delete(key);
    }
  }
}

function keyOf(prompts: readonly string[], pictures: Tensor | undefined): string {
  const { data } = pictures ?? { data: new Float32Array() };
  const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  return JSON.stringify([prompts, createHash('sha256').update(bytes).digest('hex')]);
}
