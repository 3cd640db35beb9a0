// The graphs of the bundled model that the CPU opens, against those of other devices.
import assert from 'node:assert/strict';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join as joinPath } from 'node:path';
import test from 'node:test';
import { readBundle } from '../../src/networks/bundle.js';
import { loadModel } from '../../src/networks/load-model.js';
import type { Device } from '../../src/networks/model.js';
import { createTensor, type Tensor } from '../../src/tensor/tensor.js';
import { webGpuSkipReason } from './software-gpu.js';
import { assertClose, inPieces, join } from './tiny-model.js';

const skip = await webGpuSkipReason();

/** Gives the bundled model's folder, and a copy of it whose graphs are the usual ones on the CPU too. */
async function withUsualGraphs(run: (path: string, usual: string) => Promise<void>): Promise<void> {
  const { path } = await readBundle('reel-tiny');
  const folder = await mkdtemp(joinPath(tmpdir(), 'reelspace-on-cpu-'));
  try {
    await cp(path, folder, { recursive: true });
    const place = joinPath(folder, 'reelspace.json');
    const manifest = JSON.parse(await readFile(place, 'utf8'));
    for (const graph of [manifest.graphs.vaeEncoder, manifest.graphs.vaeDecoder, manifest.graphs.denoiser]) {
      assert.ok(graph.onCpu !== undefined);
      delete graph.onCpu;
    }
    await writeFile(place, JSON.stringify(manifest));
    await run(path, folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

test('the graphs for the CPU make nearly what those for other devices make', () =>
  withUsualGraphs(async (path, usual) => {
    const [onCpu, elsewhere] = [await results(path), await results(usual)];
    // Latents and predictions have a deviation of 1, pixels are in [-1, 1].
    for (const [name, most] of [
      ['latents', 0.04],
      ['pixels', 0.02],
      ['prediction', 0.03],
    ] as const) {
      const difference = offBy(onCpu[name], elsewhere[name]);
      assert.ok(difference > 0 && difference < most, `${name} are off by ${difference}`);
    }
  }));

test('prompts and predictions of the bundled model are the same on WebGPU', { skip }, () =>
  withUsualGraphs(async (path, usual) => {
    const predicted = async (model: string, device: Device) => {
      const opened = await loadModel(model, { device });
      try {
        const prompt = await opened.encodePrompts(['a chicken on a beach', 'bouncing']);
        const latents = createTensor([1, 16, 2, 4, 4]);
        latents.data.forEach((_, at) => {
          latents.data[at] = Math.sin(at * at);
        });
        // What the prompt names in the first row, and a white square in the second.
        const reference = createTensor([2, 4, 48, 48]);
        reference.data.fill(1, reference.data.length / 2);
        return {
          prompt: prompt.embeds,
          prediction: await opened.denoise({ latents, timestep: 600, prompt, reference }),
        };
      } finally {
        await opened.close();
      }
    };
    const [onGpu, onCpu] = [await predicted(path, 'webgpu'), await predicted(usual, 'cpu')];
    assertClose(onGpu.prompt, onCpu.prompt, 1e-3);
    assertClose(onGpu.prediction, onCpu.prediction, 1e-3);
  }),
);

/** Returns the latents and decoded pixels of a clip of drifting waves, and what the denoiser makes of them with some noise. */
async function results(model: string): Promise<{ latents: Tensor; pixels: Tensor; prediction: Tensor }> {
  const [frames, height, width] = [9, 48, 64];
  const clip = createTensor([1, 3, frames, height, width]);
  clip.data.forEach((_, at) => {
    const [x, y] = [at % width, Math.floor(at / width) % height];
    const [t, channel] = [Math.floor(at / (width * height)) % frames, Math.floor(at / (width * height * frames))];
    clip.data[at] = 0.8 * Math.sin(0.2 * x + 0.1 * y * (channel + 1) + 0.3 * t);
  });
  const opened = await loadModel(model, { device: 'cpu', threads: 1 });
  try {
    const latents = await join(opened.encode(inPieces(clip, [frames])));
    const noisy = createTensor(
      latents.shape,
      latents.data.map((value, at) => 0.4 * value + 0.9 * Math.sin(at * at)),
    );
    const [batch = 1, , ...places] = latents.shape;
    const prediction = await opened.denoise({
      latents: noisy,
      timestep: 600,
      prompt: await opened.encodePrompts(['a chicken on a beach']),
      conditionLatents: createTensor(latents.shape),
      conditionMask: createTensor([batch, 2, ...places]),
    });
    return { latents, pixels: await join(opened.decode(inPieces(latents, [1]))), prediction };
  } finally {
    await opened.close();
  }
}

/** Returns the root of the mean squared difference. */
function offBy(actual: Tensor, wanted: Tensor): number {
  assert.deepEqual(actual.shape, wanted.shape);
  const sum = actual.data.reduce((total, value, at) => total + (value - (wanted.data[at] ?? Number.NaN)) ** 2, 0);
  return Math.sqrt(sum / actual.data.length);
}
