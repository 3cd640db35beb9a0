// Embeddings of the prompts that were asked for last: other seeds and settings need the text encoder no more.
import type { PromptEmbeds } from './model.js';

/** Enough for a handful of prompts of the largest text encoders (8 MB each). */
const mostBytes = 64 * 2 ** 20;

/** Keeps the embeddings of lists of prompts; the list as a whole is the key, because padding follows its longest prompt. */
export class EmbedsCache {
  /** Least recently used first. */
  readonly #kept = new Map<string, PromptEmbeds>();

  /** Returns the embeddings of exactly these prompts, if they are kept; not to be written to. */
  get(prompts: readonly string[]): PromptEmbeds | undefined {
    const key = JSON.stringify(prompts);
    const found = this.#kept.get(key);
    if (found === undefined) return undefined;
    this.#kept.delete(key);
    this.#kept.set(key, found);
    return found;
  }

  /** Keeps embeddings, and drops those that were not used for longest while all together take more than 64 MiB. */
  set(prompts: readonly string[], embeds: PromptEmbeds): void {
    this.#kept.set(JSON.stringify(prompts), embeds);
    let bytes = 0;
    for (const [key, { embeds: kept }] of [...this.#kept].reverse()) {
      bytes += kept.data.byteLength;
      if (bytes > mostBytes) this.#kept.delete(key);
    }
  }
}
