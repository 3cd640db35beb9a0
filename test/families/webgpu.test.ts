// The first graph hands its states to the other one on the device.
import { test } from 'node:test';
import { loadModel } from '../../src/networks/load-model.js';
import { openSafetensors } from '../../src/tensor/safetensors.js';
import { axis, slice } from '../../src/tensor/tensor.js';
import { webGpuSkipReason } from '../networks/software-gpu.js';
import { assertClose, inPieces, join } from '../networks/tiny-model.js';
import { readVae } from './compare.js';
import { familyFixtures } from './fixtures.js';

const skip = await webGpuSkipReason();

/** WebGPU lets devices round and order sums as they like. */
const tolerance = 1e-3;

test('a VAE with a graph for the first frame is the same on WebGPU', { skip }, async () => {
  const model = await loadModel(`${familyFixtures}tiny-wan`, { device: 'webgpu' });
  const golden = await openSafetensors(`${familyFixtures}tiny-wan.safetensors`);
  try {
    // Software drivers are slow, and what comes later changes nothing before it.
    const whole = await readVae(golden);
    const pixels = slice(whole.pixels, axis.time, 0, 5);
    const latents = slice(whole.latents, axis.time, 0, 2);
    assertClose(await join(model.encode(inPieces(pixels, [5]))), latents, tolerance);
    const decoded = await join(model.decode(inPieces(latents, [2])));
    assertClose(decoded, slice(whole.decoded, axis.time, 0, 5), tolerance);
  } finally {
    await golden.close();
    await model.close();
  }
});
