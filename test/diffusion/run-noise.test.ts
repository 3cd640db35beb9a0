import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RunNoise } from '../../src/diffusion/run-noise.js';
import type { Manifest } from '../../src/networks/manifest.js';
import { TorchRandom } from '../../src/tensor/random.js';
import { withTinyModel } from '../networks/tiny-model.js';

const shape = [1, 3, 5, 4, 2];

function noiseOf(manifest: Manifest, noiseOrder?: 'frames' | 'channels'): RunNoise {
  return new RunNoise({ ...manifest, latent: { ...manifest.latent, noiseOrder } }, 7);
}

test('noise is drawn channel by channel, or frame by frame', () =>
  withTinyModel(async ({ manifest }) => {
    const drawn = new TorchRandom(7).normal(shape).data;
    assert.deepEqual(noiseOf(manifest).startWindow(0).normal(shape).data, drawn);
    assert.deepEqual(noiseOf(manifest, 'channels').startWindow(0).normal(shape).data, drawn);
    const byFrame = noiseOf(manifest, 'frames').startWindow(0).normal(shape);
    assert.deepEqual(byFrame.shape, shape);
    for (const [at, value] of byFrame.data.entries()) {
      const [channel, frame, place] = [Math.floor(at / 40), Math.floor(at / 8) % 5, at % 8];
      assert.equal(value, drawn[(frame * 3 + channel) * 8 + place]);
    }
  }));

test('a window has a generator of its own, and what comes after goes on with the last one', () =>
  withTinyModel(async ({ manifest }) => {
    const run = noiseOf(manifest);
    const second = new TorchRandom(8);
    run.startWindow(0).normal(shape);
    assert.deepEqual(run.startWindow(1).normal(shape), second.normal(shape));
    assert.deepEqual(run.normal(shape), second.normal(shape));
  }));

test('the largest seed has windows too', () =>
  withTinyModel(async ({ manifest }) => {
    const run = new RunNoise(manifest, Number.MAX_SAFE_INTEGER);
    assert.deepEqual(run.startWindow(2).normal(shape), new TorchRandom(2n ** 53n + 1n).normal(shape));
  }));
