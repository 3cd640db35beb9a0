// Prompts as token ids, by the bundle's own tokenizer.json: cut and padded here, since the package does neither.
import { Tokenizer } from '@huggingface/tokenizers';
import { BundleError } from '../errors.js';
import { tokenizerFile, tokenizerFolders } from './bundle-layout.js';
import { withinDeadline } from './deadline.js';
import { nearestName } from './nearest-name.js';
import { parsePrompt } from './prompt-weights.js';

/** A prompt as the text encoder reads it. */
export interface TokenizedPrompt {
  /** Token ids with the special ones at both ends, at most as many as the text encoder reads. */
  readonly ids: readonly number[];
  /** How much each token counts, by the brackets around it; 1 for the special ones. */
  readonly weights: readonly number[];
  /** The end of the prompt that was not read, from the first word that was not read whole; undefined when all was. */
  readonly cut: string | undefined;
}

/** A word that a vocabulary has no token of its own for. */
export interface UnknownWord {
  readonly word: string;
  /** The word with a token that it is mistyped for, as it looks. */
  readonly nearest: string | undefined;
}

/** Texts of which one at least has tokens in any vocabulary. */
const probes = ['a', 'the', '0', '.'];

/** Characters that are looked at first, for each token there is room for; doubled until the room is full. */
const charactersPerToken = 16;

/** Hundreds of times what long prompts take. */
const deadlineMs = 5000;

/** What is used of the package's tokenizer; its own types don't resolve under NodeNext. */
interface Vocabulary {
  encode(text: string, options?: { add_special_tokens?: boolean }): { ids: readonly number[] };
  token_to_id(token: string): number | undefined;
  get_vocab(withAddedTokens: boolean): ReadonlyMap<string | undefined, number>;
}

/** A vocabulary, and the special tokens that its model wants around a prompt. */
export class PromptTokenizer {
  /** The token that fills a shorter prompt up to the length of a longer one. */
  readonly padId: number;
  readonly #tokenizer: Vocabulary;
  readonly #before: readonly number[];
  readonly #after: readonly number[];
  readonly #room: number;
  /** What stands for text that has no tokens; undefined where there is no such token. */
  readonly #unknownId: number | undefined;
  readonly #place: string;
  #words: readonly string[] | undefined;

  /** Takes the contents of tokenizer.json, which errors call `place`, and of tokenizer_config.json. Throws BundleError when they make no
   * tokenizer. */
  constructor(
    tokenizerJson: object,
    tokenizerConfig: object,
    maxTokens: number,
    place: string = tokenizerFile(tokenizerFolders.textEncoder),
  ) {
    this.#place = place;
    try {
      this.#tokenizer = new Tokenizer(tokenizerJson, tokenizerConfig);
      if (this.#tokenizer.get_vocab(false).size === 0) throw new Error('its vocabulary is empty');
      const [before, after] = this.#withinDeadline(() => specialTokens(this.#tokenizer, place));
      this.#before = before;
      this.#after = after;
      this.#unknownId = unknownIdOf(tokenizerJson, this.#tokenizer);
      this.padId = padIdOf(tokenizerJson, tokenizerConfig, this.#tokenizer);
    } catch (cause) {
      if (cause instanceof BundleError) throw cause;
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new BundleError(`Expected ${place} to be a tokenizer that works: ${reason}. Export the bundle again.`, {
        cause,
      });
    }
    this.#room = maxTokens - this.#before.length - this.#after.length;
    if (this.#room < 1) {
      throw new BundleError(
        `Expected maxTokens to leave room between the special tokens, got ${maxTokens}. Export the bundle again.`,
      );
    }
  }

  /** Returns the tokens of a prompt; the stretches that its brackets make are tokenized one by one. An empty prompt has nothing but
   * special tokens. Throws InvalidOptionError for brackets that make no sense, and BundleError when the tokenizer's patterns find no end. */
  tokenize(prompt: string): TokenizedPrompt {
    const pieces = parsePrompt(prompt);
    return this.#withinDeadline(() => this.#tokenizePieces(pieces));
  }

  /** Returns the words of a prompt, each once, that the vocabulary has no token of their own for; what is cut off is left out. */
  unknownWords(prompt: string): readonly UnknownWord[] {
    const { cut = '' } = this.tokenize(prompt);
    const text = parsePrompt(prompt)
      .map((piece) => piece.text)
      .join(' ');
    const read = text.slice(0, text.length - cut.length);
    const words = new Set(Array.from(read.matchAll(/\p{L}+/gu), ([word]) => word));
    return this.#withinDeadline(() =>
      [...words]
        .filter((word) => {
          const [id, ...more] = contentIds(this.#tokenizer, word, this.#place);
          return id === this.#unknownId || more.length > 0;
        })
        .map((word) => ({ word, nearest: this.#nearest(word.toLowerCase()) })),
    );
  }

  /** A short word is near too many others. */
  #nearest(word: string): string | undefined {
    if (word.length < 4) return undefined;
    // Where ids are missing, the package has `undefined` for a token.
    this.#words ??= [...this.#tokenizer.get_vocab(false).keys()].filter(
      (token): token is string => token !== undefined && /^\p{L}{3,}$/u.test(token),
    );
    return nearestName(word, this.#words, word.length < 8 ? 1 : 2);
  }

  #withinDeadline<T>(run: () => T): T {
    const message = `${this.#place} takes more than ${deadlineMs / 1000} s for a prompt. Use another model.`;
    return withinDeadline(deadlineMs, message, run);
  }

  #tokenizePieces(pieces: ReturnType<typeof parsePrompt>): TokenizedPrompt {
    const read: number[] = [];
    const weights: number[] = [];
    let cut: string | undefined;
    for (const [index, { text, weight }] of pieces.entries()) {
      const room = this.#room - read.length;
      const { ids, isWhole } = this.#firstIds(text);
      for (const id of ids.slice(0, room)) {
        read.push(id);
        weights.push(weight);
      }
      if (isWhole && ids.length <= room) continue;
      const unread = text.slice(this.#readLength(text, room)).trimStart();
      cut = [unread, ...pieces.slice(index + 1).map((piece) => piece.text)].join(' ');
      break;
    }
    const ones = (special: readonly number[]) => special.map(() => 1);
    return {
      ids: [...this.#before, ...read, ...this.#after],
      weights: [...ones(this.#before), ...weights, ...ones(this.#after)],
      cut,
    };
  }

  /** Ids of so much of the prompt that the room is full twice over, or of all of it: long prompts cost no more. */
  #firstIds(prompt: string): { ids: readonly number[]; isWhole: boolean } {
    for (let length = this.#room * charactersPerToken; ; length *= 2) {
      const isWhole = length >= prompt.length;
      const ids = contentIds(this.#tokenizer, isWhole ? prompt : prompt.slice(0, length), this.#place);
      if (isWhole || ids.length > 2 * this.#room) return { ids, isWhole };
    }
  }

  /** Characters up to the end of the last word that still fits as a whole. */
  #readLength(prompt: string, room: number): number {
    const ends = [0, ...Array.from(prompt.matchAll(/\S+/g), ({ index, 0: word }) => index + word.length)];
    let fits = 0;
    let tooLong = ends.length;
    // The first word that doesn't fit is near the front, whatever the length of the prompt.
    for (let reach = 1; reach < tooLong; reach *= 2) {
      if (!this.#fits(prompt.slice(0, ends[reach]), room)) tooLong = reach;
      else fits = reach;
    }
    while (tooLong - fits > 1) {
      const middle = (fits + tooLong) >> 1;
      if (this.#fits(prompt.slice(0, ends[middle]), room)) fits = middle;
      else tooLong = middle;
    }
    return ends[fits] ?? 0;
  }

  #fits(text: string, room: number): boolean {
    const { ids, isWhole } = this.#firstIds(text);
    return isWhole && ids.length <= room;
  }
}

function contentIds(tokenizer: Vocabulary, text: string, place: string): readonly number[] {
  const { ids } = tokenizer.encode(text, { add_special_tokens: false });
  // Without an unknown-token the package gives undefined for what is not in the vocabulary.
  if (ids.every((id) => Number.isInteger(id) && id >= 0)) return ids;
  throw new BundleError(
    `The vocabulary of ${place} has no token for a part of ${JSON.stringify(text.slice(0, 80))}, and none ` +
      'for unknown text. Export the bundle again.',
  );
}

/** Returns the tokens that the post-processor puts before and after a text. */
function specialTokens(tokenizer: Vocabulary, place: string): [before: number[], after: number[]] {
  for (const probe of probes) {
    const bare = contentIds(tokenizer, probe, place);
    if (bare.length === 0) continue;
    const { ids } = tokenizer.encode(probe);
    for (let start = 0; start + bare.length <= ids.length; start++) {
      if (bare.every((id, index) => ids[start + index] === id)) {
        return [ids.slice(0, start), ids.slice(start + bare.length)];
      }
    }
  }
  throw new Error('it has no tokens for letters, digits or full stops');
}

function unknownIdOf(tokenizerJson: object, tokenizer: Vocabulary): number | undefined {
  const { unk_token: token } = (tokenizerJson as { model?: { unk_token?: unknown } }).model ?? {};
  return typeof token === 'string' ? tokenizer.token_to_id(token) : undefined;
}

function padIdOf(tokenizerJson: object, config: object, tokenizer: Vocabulary): number {
  const { padding } = tokenizerJson as { padding?: { pad_id?: unknown } | null };
  const { pad_token: token } = config as { pad_token?: string | { content?: string } | null };
  const content = typeof token === 'string' ? token : token?.content;
  const id = padding?.pad_id ?? (content === undefined ? undefined : tokenizer.token_to_id(content));
  if (typeof id === 'number' && Number.isInteger(id) && id >= 0) return id;
  throw new Error('it names no padding token');
}
