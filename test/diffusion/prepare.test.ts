// Guidance of models that are told it as a number, and of those that are not; samplers; prompts that are too long.
import assert from 'node:assert/strict';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { prepareSampling } from '../../src/diffusion/prepare.js';
import { CancelledError, InvalidOptionError } from '../../src/errors.js';
import { loadModel } from '../../src/networks/load-model.js';
import { familyFixtures } from '../families/fixtures.js';
import { tinyBundlePath, withTinyModel } from '../networks/tiny-model.js';

const options = {
  frameRate: 8,
  seed: 1,
  guidanceScale: 6,
  guidanceRescale: 0,
  guidanceStart: 0,
  guidanceEnd: 1,
  windows: 'stream',
  cache: 'off',
} as const;
const prompts = [{ text: 'a cat' }];

test('a model that is told its guidance runs a second pass only with a true guidance scale', async () => {
  const model = await loadModel(`${familyFixtures}tiny-lcm`, { device: 'cpu', threads: 1 });
  try {
    const asked = { ...options, negativePrompt: 'blurry' };
    const without = await prepareSampling(model, asked, prompts, {});
    assert.deepEqual([without.sampling.toldGuidance, without.sampling.guidance.scale], [6, 1]);
    assert.match(
      String(without.warnings),
      /negative prompt counts only with a true guidance scale above 1, and this run has 1\./,
    );
    const within = await prepareSampling(model, { ...asked, trueGuidanceScale: 3 }, prompts, {});
    assert.deepEqual([within.sampling.toldGuidance, within.sampling.guidance.scale], [6, 3]);
    assert.deepEqual(within.warnings, []);
    assert.equal(within.settings.trueGuidanceScale, 3);
    const off = await prepareSampling(model, { ...asked, trueGuidanceScale: 1 }, prompts, {});
    assert.equal(off.warnings.length, 1);
  } finally {
    await model.close();
  }
});

test('guidance does not end before it starts, and a run that was cancelled does not begin', () =>
  withTinyModel(async (model) => {
    const asked = { ...options, guidanceStart: 0.8, guidanceEnd: 0.2 };
    await assert.rejects(prepareSampling(model, asked, prompts, {}), /at least its start of 0\.8, got 0\.2/);
    await prepareSampling(model, options, prompts, {});
    // Now that the prompt is known, nothing else would look at the signal.
    await assert.rejects(prepareSampling(model, options, prompts, { signal: AbortSignal.abort() }), CancelledError);
  }));

test('a model that is not told its guidance has no other one', () =>
  withTinyModel(async (model) => {
    await assert.rejects(prepareSampling(model, { ...options, trueGuidanceScale: 3 }, prompts, {}), (error) => {
      assert.ok(error instanceof InvalidOptionError);
      assert.match(
        error.message,
        /no true guidance scale, as model "tiny-bundle" has no other one, got 3\. Give it as/,
      );
      return true;
    });
  }));

test('a sampler that takes no levels is refused by a model that gives some', async () => {
  const model = await loadModel(`${familyFixtures}tiny-hunyuan-video`, { device: 'cpu', threads: 1 });
  try {
    await assert.rejects(prepareSampling(model, { ...options, scheduler: 'dpm++' }, prompts, {}), (error) => {
      assert.ok(error instanceof InvalidOptionError);
      assert.match(
        error.message,
        /scheduler to be one that suits .*: euler, heun, unipc, flow-euler, flow-heun, got "dpm/,
      );
      return true;
    });
  } finally {
    await model.close();
  }
});

test('a negative prompt that guidance leaves out is told of', () =>
  withTinyModel(async (model) => {
    const told = async (negativePrompt: string | undefined, guidanceScale: number) =>
      (await prepareSampling(model, { ...options, negativePrompt, guidanceScale }, prompts, {})).warnings;
    assert.deepEqual(await told('blurry', 1), [
      'A negative prompt counts only with a guidance scale above 1, and this run has 1.',
    ]);
    for (const [negative, scale] of [
      ['blurry', 1.5],
      ['', 1],
      [undefined, 1],
    ] as const) {
      assert.deepEqual(await told(negative, scale), []);
    }
  }));

test('what a model does not read of a prompt is told, of the negative prompt too', () =>
  withTinyModel(async (model) => {
    const long = `${'cat '.repeat(14)}dog beach`;
    const asked = { ...options, negativePrompt: `${'red '.repeat(14)}snow` };
    const { warnings } = await prepareSampling(model, asked, [{ text: long }], {});
    assert.deepEqual(warnings, [
      `The prompt "${long.slice(0, 40)}…" is longer than the model reads; it left out "dog beach".`,
      `The prompt "${asked.negativePrompt.slice(0, 40)}…" is longer than the model reads; it left out "snow".`,
    ]);
    const whole = await prepareSampling(model, options, [{ text: 'cat '.repeat(25_000) }], {});
    assert.equal(whole.warnings.length, 1);
    assert.ok(String(whole.warnings).length < 250);
  }));

test('words that a model was not taught are told, where it says what it knows', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'reelspace-vocabulary-'));
  try {
    await cp(tinyBundlePath, folder, { recursive: true });
    const manifest = JSON.parse(await readFile(join(folder, 'reelspace.json'), 'utf8'));
    await writeFile(join(folder, 'reelspace.json'), JSON.stringify({ ...manifest, vocabulary: { things: ['cat'] } }));
    const model = await loadModel(folder, { device: 'cpu' });
    const told = async (text: string, negativePrompt?: string) =>
      (await prepareSampling(model, { ...options, negativePrompt }, [{ text }, { text: 'a wug' }], {})).warnings;
    assert.deepEqual(await told('wug, (blicket)', 'baech'), [
      'tiny-bundle was not taught "wug", "blicket", "baech" (beach?) and may pass over that; ' +
        `\`reelspace models info ${folder}\` lists what it can draw.`,
    ]);
    assert.deepEqual((await prepareSampling(model, options, [{ text: 'a cat on the beach' }], {})).warnings, []);
    await model.close();
  } finally {
    await rm(folder, { recursive: true });
  }
});
