import assert from 'node:assert/strict';
import test from 'node:test';
import { CancelledError, InvalidOptionError } from '../../src/errors.js';
import type { DenoiserCall, Model } from '../../src/networks/model.js';
import { openSafetensors } from '../../src/tensor/safetensors.js';
import { concat, createTensor, slice, type Tensor } from '../../src/tensor/tensor.js';
import { assertClose, golden, goldensPath, withTinyModel } from './tiny-model.js';

const tolerance = 1e-5;
const level = 637.5;

async function goldenCall(
  model: Model,
): Promise<
  Required<
    Omit<
      DenoiserCall,
      'imageEmbeds' | 'guidance' | 'frameStarts' | 'controlLatents' | 'controlScale' | 'controls' | 'reference'
    >
  >
> {
  const file = await openSafetensors(goldensPath);
  const prompts: string[] = JSON.parse(file.metadata.prompts ?? '[]');
  assert.equal(Number(file.metadata.timestep), level);
  await file.close();
  return {
    latents: await golden('denoiser.latents'),
    timestep: level,
    prompt: await model.encodePrompts(prompts),
    frameRate: 8,
    conditionLatents: await golden('clip.latents'),
    conditionMask: await golden('denoiser.condition_mask'),
  };
}

const row = (tensor: Tensor, index: number) => slice(tensor, 0, index, index + 1);
const thrice = (tensor: Tensor) => concat([tensor, tensor, tensor], 0);

test('prompts become the embeddings that PyTorch gives, padded to the longest', () =>
  withTinyModel(async (model) => {
    const { prompt } = await goldenCall(model);
    assertClose(prompt.embeds, await golden('prompts.embeds'), tolerance);
    assert.deepEqual(prompt.mask.shape, [3, 7]);
    assert.deepEqual(Array.from(prompt.mask.data.slice(7, 14)), [1, 1, 0, 0, 0, 0, 0]);
    assert.deepEqual(prompt.truncated, []);
    const long = `${'cat '.repeat(20)}dog`;
    assert.deepEqual((await model.encodePrompts(['dog', long])).truncated, [
      { prompt: long, cut: `${'cat '.repeat(6)}dog` },
    ]);
    await assert.rejects(model.encodePrompts([]), InvalidOptionError);
  }));

test('predictions are those of PyTorch, with conditions and without', () =>
  withTinyModel(async (model) => {
    const call = await goldenCall(model);
    const conditioned = await golden('denoiser.conditioned');
    const unconditioned = await golden('denoiser.unconditioned');
    assertClose(await model.denoise(call), conditioned, tolerance);
    const { latents, timestep, prompt } = call;
    assertClose(await model.denoise({ latents, timestep, prompt }), unconditioned, tolerance);
    const zeros = { conditionLatents: createTensor(latents.shape), conditionMask: createTensor([1, 2, 7, 4, 3]) };
    assertClose(await model.denoise({ ...call, ...zeros }), unconditioned, tolerance);
  }));

test('whatever has a batch of one is repeated, and the call is left as it was', () =>
  withTinyModel(async (model) => {
    const call = await goldenCall(model);
    const wanted = await golden('denoiser.conditioned');
    const copies = structuredClone(call);
    const repeated = { ...call, latents: thrice(call.latents), conditionMask: thrice(call.conditionMask) };
    assertClose(await model.denoise(repeated), wanted, tolerance);
    const { embeds, mask } = call.prompt;
    for (const index of [0, 1, 2]) {
      const prompt = { embeds: row(embeds, index), mask: row(mask, index), truncated: [] };
      assertClose(await model.denoise({ ...call, prompt }), row(wanted, index), tolerance);
      const many = await model.denoise({ ...repeated, prompt });
      assertClose(many, thrice(row(wanted, index)), tolerance);
    }
    assert.deepEqual(call, copies);
  }));

test('tensors that do not fit are refused before the network runs', () =>
  withTinyModel(async (model) => {
    const call = await goldenCall(model);
    const { embeds, mask } = call.prompt;
    const wrong: [Partial<DenoiserCall>, RegExp][] = [
      [{ latents: createTensor([1, 15, 7, 4, 3]) }, /shape of latents to be \[B, 16, 7, 4, 3\]/],
      [{ latents: createTensor([1, 16, 7, 4]) }, /latents to be \[B, C, t, h, w\]/],
      [{ latents: createTensor([1, 16, 0, 4, 3]) }, /shape of latents/],
      [{ latents: { shape: [1, 16, 7, 4, 3], data: new Float32Array(4) } }, /shape of latents/],
      [{ latents: createTensor([2, 16, 7, 4, 3]) }, /batch of latents to be 1 or 3, as the largest is, got 2/],
      [{ timestep: Number.NaN }, /timestep to be a finite number, got NaN/],
      [{ prompt: { ...call.prompt, embeds: createTensor([3, 7, 8]) } }, /shape of prompt embeds to be \[B, 7, 16\]/],
      [{ prompt: { ...call.prompt, mask: slice(mask, 1, 0, 6) } }, /shape of prompt mask to be \[B, 7\]/],
      [{ prompt: { ...call.prompt, embeds: slice(embeds, 0, 0, 2) } }, /batch of prompt embeds to be 1 or 3/],
      [{ conditionLatents: createTensor([1, 16, 7, 3, 4]) }, /shape of condition latents to be \[B, 16, 7, 4, 3\]/],
      [{ conditionMask: createTensor([1, 1, 7, 4, 3]) }, /shape of condition mask to be \[B, 2, 7, 4, 3\]/],
    ];
    for (const [change, message] of wrong) {
      await assert.rejects(model.denoise({ ...call, ...change }), (error) => {
        assert.ok(error instanceof InvalidOptionError, String(error));
        assert.match(error.message, message);
        return true;
      });
    }
  }));

test('a call that was cancelled says so', () =>
  withTinyModel(async (model) => {
    const call = await goldenCall(model);
    await assert.rejects(model.denoise(call, { signal: AbortSignal.abort() }), CancelledError);
  }));
