import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { InvalidOptionError } from '../../src/errors.js';
import { loadModel } from '../../src/networks/load-model.js';
import { parsePrompt } from '../../src/networks/prompt-weights.js';
import { openSafetensors, readTensor } from '../../src/tensor/safetensors.js';
import { slice } from '../../src/tensor/tensor.js';
import { familyFixtures } from '../families/fixtures.js';
import { assertClose, tinyBundlePath, withTinyModel } from './tiny-model.js';

const goldens = fileURLToPath(new URL('../../../test/goldens/prompts.safetensors', import.meta.url));

/** Returns the stretches as [text, weight] pairs, weights to six digits. */
const parsed = (prompt: string) =>
  parsePrompt(prompt).map(({ text, weight }) => [text, Number(weight.toPrecision(6))] as const);

describe('parsePrompt', () => {
  it('leaves a prompt without brackets as it is', () => {
    for (const prompt of ['', ' a  fox ', 'a fox: 1.2', 'back\\slash \\\\', 'x'.repeat(100_000)]) {
      assert.deepEqual(parsePrompt(prompt), [{ text: prompt, weight: 1 }]);
    }
  });

  it('reads weights, and brackets in brackets', () => {
    assert.deepEqual(parsed('a (red:1.2) fox'), [
      ['a', 1],
      ['red', 1.2],
      ['fox', 1],
    ]);
    assert.deepEqual(parsed('a ((red)) fox'), [
      ['a', 1],
      ['red', 1.21],
      ['fox', 1],
    ]);
    assert.deepEqual(parsed('[a] [[b]]'), [
      ['a', 0.909091],
      ['b', 0.826446],
    ]);
    assert.deepEqual(parsed('(a (b:2) [c]:0.5) d'), [
      ['a', 0.5],
      ['b', 1],
      ['c', 0.454545],
      ['d', 1],
    ]);
    assert.deepEqual(parsed('(a: .5 )(b:2.)'), [
      ['a', 0.5],
      ['b', 2],
    ]);
    assert.deepEqual(parsed('(a:0)'), [['a', 0]]);
    assert.deepEqual(parsed('un(believ)able'), [
      ['un', 1],
      ['believ', 1.1],
      ['able', 1],
    ]);
  });

  it('takes brackets after a backslash as they are, and other colons too', () => {
    assert.deepEqual(parsed('a \\(red\\) fox'), [['a (red) fox', 1]]);
    assert.deepEqual(parsed('(\\[x\\]\\\\:1.5) :\\)'), [
      ['[x]\\', 1.5],
      [':)', 1],
    ]);
    assert.deepEqual(parsed('(ratio: wide)'), [['ratio: wide', 1.1]]);
    assert.deepEqual(parsed('12:30 (noon)'), [
      ['12:30', 1],
      ['noon', 1.1],
    ]);
  });

  it('drops what is empty', () => {
    assert.deepEqual(parsed('()'), [['', 1]]);
    assert.deepEqual(parsed('a ( ) [] b'), [
      ['a', 1],
      ['b', 1],
    ]);
  });

  it('says where brackets are wrong', () => {
    const cases: [string, RegExp][] = [
      ['a (red fox', /brackets to be balanced, got one \( too many at character 3\. Write \\\( or/],
      ['a red) fox', /got one \) too many at character 6\./],
      ['(a [b) c]', /got one \) too many at character 6\./],
      ['((a)', /got one \( too many at character 1\./],
      ['a :)', /got one \) too many/],
      ['(a:1e9)', /weight at character 3 of the prompt to be a number from 0 to 10, got "1e9"\./],
      ['(a:1000000000)', /from 0 to 10, got "1000000000"/],
      ['(a:-1)', /from 0 to 10, got "-1"/],
      ['(a:1.2.3)', /from 0 to 10, got "1\.2\.3"/],
      ['(at 12:30pm)', /from 0 to 10, got "30pm"\. Write \\\( or/],
      ['[a:0.5]', /to be in round brackets, got "\[…:0\.5\]"\. Write \(…:0\.5\)/],
      ['((a:9):9)', /weight of "a" by all its brackets to be at most 10, got 81\. Use fewer brackets\./],
      [`${'('.repeat(50_000)}a${')'.repeat(50_000)}`, /by all its brackets to be at most 10, got Infinity/],
      ['('.repeat(100_000), /one \( too many/],
      [')'.repeat(100_000), /one \) too many/],
    ];
    for (const [prompt, message] of cases) {
      assert.throws(
        () => parsePrompt(prompt),
        (error) => {
          assert.ok(error instanceof InvalidOptionError, String(error));
          assert.match(error.message, message);
          return true;
        },
        prompt.slice(0, 40),
      );
    }
  });
});

describe('embeddings of weighted prompts', () => {
  for (const [name, path] of [
    ['tiny-bundle', tinyBundlePath],
    ['tiny-wan', `${familyFixtures}tiny-wan`],
  ] as const) {
    it(`are compel's, on ${name}`, async () => {
      const file = await openSafetensors(goldens);
      const prompts: string[] = JSON.parse(file.metadata.prompts ?? '[]');
      await file.close();
      assert.ok(prompts.length > 5);
      const model = await loadModel(path, { device: 'cpu', threads: 1 });
      try {
        for (const [index, prompt] of prompts.entries()) {
          const { embeds } = await model.encodePrompts([prompt]);
          const golden = await readTensor(goldens, `${name}.${index}`);
          const [length = 0, width = 0] = golden.shape;
          assertClose({ ...slice(embeds, 1, 0, length), shape: [length, width] }, golden, 2e-6);
        }
      } finally {
        await model.close();
      }
    });
  }

  it('change nothing about prompts without brackets beside them, and weights of 1 nothing at all', () =>
    withTinyModel(async (model) => {
      const plain = await model.encodePrompts(['a red cat', 'a dog']);
      const beside = await model.encodePrompts(['a (red:1.5) cat', 'a dog']);
      assert.deepEqual(slice(beside.embeds, 0, 1, 2), slice(plain.embeds, 0, 1, 2));
      assert.notDeepEqual(slice(beside.embeds, 0, 0, 1), slice(plain.embeds, 0, 0, 1));
      assert.deepEqual((await model.encodePrompts(['a (red:1) cat', 'a dog'])).embeds, plain.embeds);
    }));

  it('are cut with what was left out told, whatever the length', () =>
    withTinyModel(async (model) => {
      const { truncated } = await model.encodePrompts([`${'cat '.repeat(10)}(dog beach snow:1.3) red [fox] cat`]);
      assert.deepEqual(
        truncated.map(({ cut }) => cut),
        ['fox cat'],
      );
      const before = process.cpuUsage();
      for (const prompt of [
        `${'(cat) '.repeat(16_000)}`,
        `(${'cat '.repeat(24_000)}:1.2) dog`,
        `${'(('.repeat(10)}cat${'))'.repeat(10)}`,
      ]) {
        assert.ok((await model.encodePrompts([prompt])).embeds.data.every(Number.isFinite));
      }
      // It takes 0.3 s; of the processor, so that a busy machine makes little difference.
      assert.ok(process.cpuUsage(before).user < 5e6);
    }));

  it('are kept for the next time, and are no other prompts’', () =>
    withTinyModel(async (model) => {
      const first = await model.encodePrompts(['a cat', '']);
      assert.equal(await model.encodePrompts(['a cat', '']), first);
      assert.notDeepEqual((await model.encodePrompts(['a dog', ''])).embeds, first.embeds);
      assert.notEqual(await model.encodePrompts(['', 'a cat']), first);
    }));

  it('refuse wrong brackets before the text encoder is opened', async () => {
    const model = await loadModel(tinyBundlePath, { device: 'cpu' });
    try {
      await assert.rejects(model.encodePrompts(['a (cat']), InvalidOptionError);
    } finally {
      await model.close();
    }
  });
});
