// The first graph hands its states to the other one on the device.
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { loadModel } from '../../src/networks/load-model.js';
import { readTensor } from '../../src/tensor/safetensors.js';
import { axis, slice } from '../../src/tensor/tensor.js';
import { webGpuSkipReason } from '../networks/software-gpu.js';
import { assertClose, inPieces, join } from '../networks/tiny-model.js';

const folder = fileURLToPath(new URL('../../../test/fixtures/families/', import.meta.url));
const skip = await webGpuSkipReason();

/** WebGPU lets devices round and order sums as they like. */
const tolerance = 1e-3;

test('a VAE with a graph for the first frame is the same on WebGPU', { skip }, async () => {
  const model = await loadModel(`${folder}tiny-wan`, { device: 'webgpu' });
  try {
    // Software drivers are slow, and what comes later changes nothing before it.
    const golden = async (name: string, frames: number) =>
      slice(await readTensor(`${folder}tiny-wan.safetensors`, `vae.${name}`), axis.time, 0, frames);
    const pixels = await golden('pixels', 5);
    const latents = await golden('latents', 2);
    assertClose(await join(model.encode(inPieces(pixels, [5]))), latents, tolerance);
    assertClose(await join(model.decode(inPieces(latents, [2]))), await golden('decoded', 5), tolerance);
  } finally {
    await model.close();
  }
});
