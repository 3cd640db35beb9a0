// Guidance of models that are told it as a number, and of those that are not.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { prepareSampling } from '../../src/diffusion/prepare.js';
import { InvalidOptionError } from '../../src/errors.js';
import { loadModel } from '../../src/networks/load-model.js';
import { familyFixtures } from '../families/fixtures.js';
import { withTinyModel } from '../networks/tiny-model.js';

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
    assert.match(String(without.warnings), /no use of a negative prompt without a true guidance scale above 1/);
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
