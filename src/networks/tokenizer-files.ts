// A tokenizer's files as the tokenizers package wants them: tokenizer.json where there is one, else made of older files.
import { BundleError } from '../errors.js';
import { type TokenizerFolder, tokenizerFile } from './bundle-layout.js';

/** How a folder's tokenizer files are read; `has` tells which there are. */
export interface TokenizerSource {
  has(path: string): boolean;
  json(path: string): Promise<Record<string, unknown>>;
  text(path: string): Promise<string>;
}

function placesIn(folder: TokenizerFolder) {
  return {
    whole: tokenizerFile(folder),
    config: `${folder}/tokenizer_config.json`,
    specialTokens: `${folder}/special_tokens_map.json`,
    vocabulary: `${folder}/vocab.json`,
    merges: `${folder}/merges.txt`,
  };
}

/** The one tokenizer whose older files are understood. */
const olderClass = 'CLIPTokenizer';

/** Returns the contents of a folder's tokenizer.json and tokenizer_config.json. Throws BundleError when the files make no tokenizer. */
export async function readTokenizerFiles(
  source: TokenizerSource,
  folder: TokenizerFolder,
): Promise<{ tokenizer: Record<string, unknown>; config: Record<string, unknown> }> {
  const places = placesIn(folder);
  const optional = (path: string) => (source.has(path) ? source.json(path) : {});
  const config: Record<string, unknown> = {
    ...(await optional(places.specialTokens)),
    ...(await optional(places.config)),
  };
  if (source.has(places.whole)) return { tokenizer: await source.json(places.whole), config };
  if (!source.has(places.vocabulary) || !source.has(places.merges)) {
    throw new BundleError(
      `The model lacks ${places.whole}, and ${places.vocabulary} with ${places.merges} to make it of. Get the model again.`,
    );
  }
  if (config.tokenizer_class !== olderClass) {
    throw new BundleError(
      `Expected ${places.config} to name ${olderClass}, whose ${places.vocabulary} and ${places.merges} reelspace reads, got ` +
        `${config.tokenizer_class ?? 'none'}. Save the tokenizer with transformers as tokenizer.json.`,
    );
  }
  const vocabulary = await source.json(places.vocabulary);
  const merges = await source.text(places.merges);
  return { tokenizer: bytePairTokenizer(vocabulary, merges, config, places), config };
}

/** Words, and what stands between them: transformers' CLIPConverter. */
const words = String.raw`'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+`;

/** Returns byte pairs with a mark at the end of words, lower case, and special tokens at both ends, as tokenizer.json says it. */
function bytePairTokenizer(
  vocab: Readonly<Record<string, unknown>>,
  merges: string,
  config: Readonly<Record<string, unknown>>,
  places: ReturnType<typeof placesIn>,
): Record<string, unknown> {
  const [start, end] = ['bos_token', 'eos_token'].map((key): [string, unknown] => {
    const content = tokenOf(config[key]);
    if (content !== undefined && Object.hasOwn(vocab, content)) return [content, vocab[content]];
    throw new BundleError(`Expected ${places.config} to name a ${key} of ${places.vocabulary}. Get the model again.`);
  }) as [[string, unknown], [string, unknown]];
  const special = [start, end].map(([content, id]) => ({
    id,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  }));
  const marks = [start, end].map(([content]) => content.replace(/[|\\{}()[\]^$+*?.]/g, String.raw`\$&`));
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: special,
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'NFC' },
        { type: 'Replace', pattern: { Regex: String.raw`\s+` }, content: ' ' },
        { type: 'Lowercase' },
      ],
    },
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [
        { type: 'Split', pattern: { Regex: [...marks, words].join('|') }, behavior: 'Removed', invert: true },
        { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
      ],
    },
    post_processor: { type: 'RobertaProcessing', sep: end, cls: start, trim_offsets: false, add_prefix_space: false },
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: tokenOf(config.unk_token) ?? end[0],
      continuing_subword_prefix: '',
      end_of_word_suffix: '</w>',
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab,
      // The first line names the version of the file.
      merges: merges
        .split('\n')
        .filter((line) => line !== '' && !line.startsWith('#version'))
        .map((line) => line.split(' ')),
    },
  };
}

/** Returns the id of the token that fills prompts up, from special_tokens_map.json and vocab.json. Throws BundleError. */
export function readPadId(
  special: Readonly<Record<string, unknown>>,
  vocab: Readonly<Record<string, unknown>>,
): number {
  const token = tokenOf(special.pad_token);
  const id = token === undefined ? undefined : vocab[token];
  if (typeof id === 'number') return id;
  throw new BundleError(`Expected special_tokens_map.json to name a pad_token of vocab.json, got ${token ?? 'none'}.`);
}

function tokenOf(token: unknown): string | undefined {
  const content = typeof token === 'object' && token !== null ? (token as { content?: unknown }).content : token;
  return typeof content === 'string' ? content : undefined;
}
