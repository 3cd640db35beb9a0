import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { textToVideo } from '../../pipelines/text-to-video.js';
import { videoToVideo } from '../../pipelines/video-to-video.js';
import { promptKeys, promptsAlong } from '../../src/diffusion/prompt-keys.js';
import { InvalidOptionError } from '../../src/errors.js';
import type { Clip } from '../../src/media/clip.js';
import type { PromptEmbeds } from '../../src/networks/model.js';
import { createTensor } from '../../src/tensor/tensor.js';
import { withTinyModel } from '../networks/tiny-model.js';

const size = { width: 24, height: 40, steps: 2, seed: 3 };
const source = 'test/goldens/long.mkv';

async function bytesOf(clip: Promise<Clip>): Promise<Buffer> {
  const frames: Uint8Array[] = [];
  for await (const { data } of (await clip).frames) frames.push(data);
  return Buffer.concat(frames);
}

function embeds(value: number): PromptEmbeds {
  return { embeds: createTensor([1, 1, 1], Float32Array.of(value)), mask: createTensor([1, 1]), truncated: [] };
}

describe('promptsAlong', () => {
  it('holds each prompt at its frame, the first before and the last after, and blends evenly in between', () =>
    withTinyModel(async ({ manifest }) => {
      assert.equal(manifest.latent.temporalCompression, 4);
      const keys = promptKeys({ promptAt: { 24: 'c', 4: 'a', 8: 'b' } });
      assert.deepEqual(
        keys.map(({ frame, text }) => [frame, text]),
        [
          [4, 'a'],
          [8, 'b'],
          [24, 'c'],
        ],
      );
      const along = promptsAlong(
        manifest,
        keys,
        [0, 1, 2].map((value) => ({ prompt: embeds(value) })),
      );
      // What the prompts amount to at each latent frame; the keys are at latent frames 1, 2 and 6.
      const blended = Array.from({ length: 9 }, (_, frame) =>
        along.reduce(
          (sum, { prompt, weightAt }) => sum + (prompt.embeds.data[0] as number) * (weightAt?.(frame) ?? 1),
          0,
        ),
      );
      assert.deepEqual(blended, [0, 0, 1, 1.25, 1.5, 1.75, 2, 2, 2]);
    }));

  it('leaves a single prompt as it is', () =>
    withTinyModel(async ({ manifest }) => {
      const prompts = [{ prompt: embeds(1) }];
      assert.equal(promptsAlong(manifest, promptKeys({ promptAt: { 12: 'a' } }), prompts), prompts);
    }));
});

describe('prompts at frames', () => {
  it('make the clip of the prompt alone when it is the only one, or always the same', () =>
    withTinyModel(async (model) => {
      const plain = await bytesOf(textToVideo.run(model, { ...size, prompt: 'a cat', numFrames: 13 }));
      const only = { ...size, promptAt: { 0: 'a cat' }, numFrames: 13 };
      assert.deepEqual(await bytesOf(textToVideo.run(model, only)), plain);
    }));

  it('change the clip towards their frame, also in windows and over a source of unknown length', () =>
    withTinyModel(async (model) => {
      const { latentFrames } = model.manifest.window;
      const numFrames = 4 * (2 * latentFrames - 2) + 1;
      for (const windows of ['stream', 'joint'] as const) {
        const shared = { ...size, windows, prompt: 'a cat', numFrames };
        const plain = await bytesOf(textToVideo.run(model, shared));
        const changed = await bytesOf(textToVideo.run(model, { ...shared, promptAt: { [numFrames - 1]: 'a fox' } }));
        assert.notDeepEqual(changed, plain);
        // A prompt is one at frame 0.
        const keyed = { ...shared, prompt: undefined, promptAt: { 0: 'a cat', [numFrames - 1]: 'a fox' } };
        assert.deepEqual(await bytesOf(textToVideo.run(model, keyed)), changed);
      }
      const restyle = { ...size, input: source, prompt: 'a cat' };
      const restyled = await bytesOf(videoToVideo.run(model, restyle));
      assert.notDeepEqual(await bytesOf(videoToVideo.run(model, { ...restyle, promptAt: { 8: 'a fox' } })), restyled);
    }));

  it('are among the settings', () =>
    withTinyModel(async (model) => {
      const { settings } = await textToVideo.run(model, { ...size, promptAt: { 4: 'a fox', 0: 'a cat' } });
      assert.deepEqual(settings.promptAt, { 0: 'a cat', 4: 'a fox' });
      assert.ok(!('prompt' in settings));
    }));

  it('are refused when none is there, two are at one place, or one is beyond the end', () =>
    withTinyModel(async (model) => {
      const cases: [Record<string, unknown>, RegExp][] = [
        [{}, /Expected a prompt, got none/],
        [{ promptAt: {} }, /Expected a prompt, got none/],
        [{ prompt: 'a', promptAt: { 0: 'b' } }, /one prompt for frame 0/],
        [{ prompt: 'a', promptAt: { 13: 'b' } }, /frame of a prompt to be below the clip's 13 frames, got 13/],
        [{ promptAt: { 5: 'a', 8: 'b' } }, /frames of prompts to be 4 or more apart for this model, got \[5, 8\]/],
        [{ promptAt: { '-1': 'a' } }, /promptAt/],
        [{ promptAt: { 1.5: 'a' } }, /promptAt/],
        [{ promptAt: { 0: 'x'.repeat(100_001) } }, /promptAt/],
      ];
      for (const [options, message] of cases) {
        await assert.rejects(textToVideo.run(model, { ...size, numFrames: 13, ...options }), (error: Error) => {
          assert.ok(error instanceof InvalidOptionError, String(error));
          assert.match(error.message, message);
          return true;
        });
      }
    }));
});
