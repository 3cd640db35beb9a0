import assert from 'node:assert/strict';
import test from 'node:test';
import { InvalidOptionError } from '../../src/errors.js';
import { readBundle } from '../../src/networks/bundle.js';
import { previewFrame } from '../../src/networks/latent-preview.js';
import { createTensor } from '../../src/tensor/tensor.js';
import { golden, tinyBundlePath } from './tiny-model.js';

const { manifest } = await readBundle(tinyBundlePath);

test('a preview has the colours of the frames under it', async () => {
  const latents = await golden('clip.latents');
  const clip = await golden('clip');
  const [, , frames = 0, height = 0, width = 0] = clip.shape;
  for (const latentFrame of [1, 3, 5]) {
    const preview = previewFrame(manifest, latents, latentFrame);
    assert.deepEqual(
      [preview?.width, preview?.height, preview?.data.length],
      [width / 8, height / 8, (width * height * 3) / 64],
    );
    let error = 0;
    for (const [at, value] of preview?.data.entries() ?? []) {
      const [channel, x, y] = [at % 3, Math.floor(at / 3) % (width / 8), Math.floor(at / 3 / (width / 8))];
      let sum = 0;
      for (let frame = 4 * latentFrame - 3; frame <= 4 * latentFrame; frame++) {
        for (let row = 8 * y; row < 8 * y + 8; row++) {
          const from = ((channel * frames + frame) * height + row) * width + 8 * x;
          for (const pixel of clip.data.subarray(from, from + 8)) sum += pixel;
        }
      }
      error += Math.abs(value - ((sum / 256 + 1) / 2) * 255);
    }
    const mean = error / (preview?.data.length ?? 0);
    assert.ok(mean < 6, `frame ${latentFrame} is off by ${mean} of 255`);
  }
});

test('a preview is the linear map of the manifest, kept to bytes', () => {
  const rgb = {
    weights: [
      [1, 0, 0.5],
      [0, 2, 0],
    ],
    bias: [0, -1, 0.25],
  };
  const map = { ...manifest, latent: { ...manifest.latent, rgb } };
  const data = Float32Array.from([9, 9, 0.5, -7, 9, 9, 0.25, 3]);
  const preview = previewFrame(map, createTensor([1, 2, 2, 1, 2], data), 1);
  // (v + 1) / 2 * 255 of 0.5, -0.5, 0.5 and of -7, 5, -3.25.
  assert.deepEqual(preview, { width: 2, height: 1, data: Uint8Array.from([191, 64, 191, 0, 255, 0]) });
});

test('a model without a map has no preview, and latents that do not fit are refused', () => {
  const { rgb: _, ...latent } = manifest.latent;
  assert.equal(previewFrame({ ...manifest, latent }, createTensor([1, 16, 1, 2, 2])), undefined);
  assert.throws(() => previewFrame(manifest, createTensor([1, 15, 1, 2, 2])), InvalidOptionError);
  assert.throws(() => previewFrame(manifest, createTensor([2, 16, 1, 2, 2])), InvalidOptionError);
  for (const frame of [1, -1, 0.5]) {
    assert.throws(() => previewFrame(manifest, createTensor([1, 16, 1, 2, 2]), frame), /whole number below 1/);
  }
});
