import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'node:test';
import { BundleError } from '../../src/errors.js';
import { PromptTokenizer } from '../../src/networks/tokenizer.js';
import { openSafetensors } from '../../src/tensor/safetensors.js';
import { goldensPath, tinyBundlePath } from './tiny-model.js';

const read = async (name: string) => JSON.parse(await readFile(join(tinyBundlePath, 'tokenizer', name), 'utf8'));
const tokenizerJson = await read('tokenizer.json');
const config = await read('tokenizer_config.json');
const maxTokens = 16;
const tokenizer = new PromptTokenizer(tokenizerJson, config, maxTokens);
const [start, end] = tokenizer.tokenize('').ids;
const idOf = (token: string): number => tokenizerJson.model.vocab[token];

test('prompts become the ids that the Python tokenizers package gives', async () => {
  const file = await openSafetensors(goldensPath);
  const { data, shape } = await file.readIntegers('prompts.input_ids');
  const prompts: string[] = JSON.parse(file.metadata.prompts ?? '[]');
  await file.close();
  assert.equal(prompts.length, shape[0]);
  const length = shape[1] ?? 0;
  for (const [row, prompt] of prompts.entries()) {
    const { ids, cut } = tokenizer.tokenize(prompt);
    const padded = [...ids, ...new Array(length - ids.length).fill(tokenizer.padId)];
    assert.deepEqual(padded, Array.from(data.slice(row * length, (row + 1) * length), Number));
    assert.equal(cut, undefined);
  }
});

test('an empty prompt is nothing but its special tokens', () => {
  assert.deepEqual(tokenizer.tokenize(''), { ids: [idOf('[CLS]'), idOf('[SEP]')], weights: [1, 1], cut: undefined });
  assert.deepEqual(tokenizer.tokenize(' \n\t ').ids, [start, end]);
});

test('a prompt that is too long keeps its end token, and what was cut is told in its own words', () => {
  const room = maxTokens - 2;
  const fits = `${'cat '.repeat(room)}`;
  assert.deepEqual(tokenizer.tokenize(fits), {
    ids: [start, ...new Array(room).fill(idOf('cat')), end],
    weights: new Array(maxTokens).fill(1),
    cut: undefined,
  });
  const { ids, cut } = tokenizer.tokenize(`${fits} Dog, on a BEACH`);
  assert.deepEqual(ids, [start, ...new Array(room).fill(idOf('cat')), end]);
  assert.equal(cut, 'Dog, on a BEACH');
  // The last word of eight tokens is read in part, and told as cut.
  const half = tokenizer.tokenize(`${'cat '.repeat(room - 4)}qwertyui dog`);
  assert.deepEqual(half.ids.slice(room - 3, room + 1), [idOf('q'), idOf('##w'), idOf('##e'), idOf('##r')]);
  assert.equal(half.ids.length, maxTokens);
  assert.equal(half.cut, 'qwertyui dog');
  assert.equal(tokenizer.tokenize('q'.repeat(60)).cut, 'q'.repeat(60));
});

test('words that the vocabulary has no token for are told once, and what is cut off is not', () => {
  const wordsOf = (prompt: string) => tokenizer.unknownWords(prompt).map(({ word }) => word);
  assert.deepEqual(wordsOf(''), []);
  assert.deepEqual(wordsOf('A cat, on the (BEACH:1.2)!'), []);
  assert.deepEqual(wordsOf('a qwerty cat on (zyx:1.3) qwerty'), ['qwerty', 'zyx']);
  assert.deepEqual(wordsOf(`${'cat '.repeat(maxTokens - 2)}qwerty`), []);
  assert.equal(tokenizer.tokenize('cats').ids.length, 4);
  assert.deepEqual(wordsOf('two cats'), ['two', 'cats']);
  // What has no tokens at all is one unknown token.
  assert.deepEqual(wordsOf('a лиса and a cat'), ['лиса']);
});

test('beside a word that looks mistyped is the one with a token that it looks like', () => {
  const nearestTo = (word: string) => tokenizer.unknownWords(word)[0]?.nearest;
  assert.equal(nearestTo('Beahc'), 'beach');
  assert.equal(nearestTo('beeach'), 'beach');
  // Two letters are wrong, or the word is short.
  assert.equal(nearestTo('baehc'), undefined);
  assert.equal(nearestTo('cax'), undefined);
});

test('prompts of 100,000 characters take no longer than their beginning', () => {
  const prompts = [
    'a cat on the beach '.repeat(5264),
    'q'.repeat(100_000),
    ' '.repeat(100_000),
    '\u4e2d\u6587'.repeat(50_000),
    '\u{1f680}'.repeat(50_000),
    '[SEP]'.repeat(20_000),
    `${' '.repeat(99_990)}a red cat`,
  ];
  const before = process.cpuUsage();
  const results = prompts.map((prompt) => tokenizer.tokenize(prompt));
  const { user } = process.cpuUsage(before);
  // It takes 0.15 s; of the processor, so that a busy machine makes little difference.
  assert.ok(user < 3e6, `${user / 1e6} s`);
  for (const { ids } of results) {
    assert.ok(ids.length >= 2 && ids.length <= maxTokens);
    assert.equal(ids[0], start);
    assert.equal(ids.at(-1), end);
  }
  assert.equal(results[0]?.cut, prompts[0]?.slice('a cat on the beach a cat on the beach a cat on the '.length));
  assert.deepEqual(results[6]?.ids.slice(1, -1), [idOf('a'), idOf('red'), idOf('cat')]);
  assert.equal(results[6]?.cut, undefined);
});

test('a vocabulary that is missing or garbled is a bundle error', () => {
  const broken: [object, object, RegExp][] = [
    [{}, config, /tokenizer that works/],
    [{ ...tokenizerJson, model: null }, config, /tokenizer that works/],
    [{ ...tokenizerJson, model: { type: 'Nonsense' } }, config, /tokenizer that works/],
    [{ ...tokenizerJson, model: { ...tokenizerJson.model, vocab: {} } }, config, /vocabulary is empty/],
    [{ ...tokenizerJson, model: { ...tokenizerJson.model, vocab: 7 } }, config, /vocabulary is empty/],
    [{ ...tokenizerJson, normalizer: { type: 'Nonsense' } }, config, /tokenizer that works/],
    [{ ...tokenizerJson, padding: null }, { ...config, pad_token: undefined }, /names no padding token/],
    [{ ...tokenizerJson, padding: null }, { ...config, pad_token: '[NONE]' }, /names no padding token/],
  ];
  for (const [json, brokenConfig, message] of broken) {
    assert.throws(
      () => new PromptTokenizer(json, brokenConfig, maxTokens),
      (error) => {
        assert.ok(error instanceof BundleError, String(error));
        assert.match(error.message, message);
        return true;
      },
    );
  }
  assert.throws(() => new PromptTokenizer(tokenizerJson, config, 2), BundleError);
});

test('a tokenizer whose patterns find no end is a bundle error', () => {
  const normalizer = { type: 'Replace', pattern: { Regex: '(a|aa|[a-z])+!' }, content: ' ' };
  const endless = new PromptTokenizer({ ...tokenizerJson, normalizer }, config, maxTokens);
  assert.deepEqual(endless.tokenize('cat').ids, [start, idOf('cat'), end]);
  assert.throws(
    () => endless.tokenize('a'.repeat(50)),
    (error) => {
      assert.ok(error instanceof BundleError, String(error));
      assert.match(
        error.message,
        /^tokenizer\/tokenizer\.json takes more than 5 s for a prompt\. Use another model\.$/,
      );
      return true;
    },
  );
  assert.deepEqual(endless.tokenize('cat').ids, [start, idOf('cat'), end]);
});

test('special tokens are told apart whatever their number and place', () => {
  const special = (token: string) => ({ SpecialToken: { id: token, type_id: 0 } });
  const text = { Sequence: { id: 'A', type_id: 0 } };
  const known = (token: string) => [token, { id: token, ids: [idOf(token)], tokens: [token] }];
  const special_tokens = Object.fromEntries(['[CLS]', '[SEP]'].map(known));
  for (const [before, after] of [
    [[], ['[SEP]']],
    [['[CLS]', '[CLS]'], ['[SEP]']],
    [[], []],
  ] as const) {
    const single = [...before.map(special), text, ...after.map(special)];
    const post_processor = { type: 'TemplateProcessing', single, pair: single, special_tokens };
    const other = new PromptTokenizer({ ...tokenizerJson, post_processor }, config, 6);
    const ids = other.tokenize('cat cat cat dog cat cat cat cat').ids;
    const content = ['cat', 'cat', 'cat', 'dog', 'cat', 'cat'].slice(0, 6 - before.length - after.length);
    assert.deepEqual(ids, [...before, ...content, ...after].map(idOf));
  }
});

test('the bundled model reads prompts as it was trained to', async () => {
  const folder = 'models/reel-tiny';
  const content = async (path: string) => JSON.parse(await readFile(path, 'utf8'));
  const { graphs } = await content(`${folder}/reelspace.json`);
  const bundled = new PromptTokenizer(
    await content(`${folder}/tokenizer/tokenizer.json`),
    await content(`${folder}/tokenizer/tokenizer_config.json`),
    graphs.textEncoder.maxTokens,
  );
  const goldens: { prompt: string; ids: number[] }[] = await content('models/reel_tiny/text/golden-ids.json');
  assert.ok(goldens.length > 0);
  for (const { prompt, ids: padded } of goldens) {
    const { ids } = bundled.tokenize(prompt);
    assert.deepEqual([...ids, ...new Array(padded.length - ids.length).fill(bundled.padId)], padded, prompt);
  }
});
