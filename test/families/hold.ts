// Tests that hold runs of toy bundles to what diffusers made with the pipelines that they were exported from (models/export/parity).
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { loadModel } from '../../src/networks/load-model.js';
import type { Model } from '../../src/networks/model.js';
import { openSafetensors, type SafetensorsFile } from '../../src/tensor/safetensors.js';
import { axis, lengthOf } from '../../src/tensor/tensor.js';
import { assertClose, inPieces, join } from '../networks/tiny-model.js';
import { compareRun, readCases, readVae, tolerance } from './compare.js';
import { familyFixtures } from './fixtures.js';

/** What one pass through one graph may add, in values of about 1. */
const vaeTolerance = 1e-4;

/** Describes the tests of a family's goldens. */
export async function holdToDiffusers(family: string): Promise<void> {
  const goldenPath = `${familyFixtures}${family}.safetensors`;
  const { cases, bundle, hasVae } = await readCases(goldenPath);

  describe(`${family} equals diffusers`, () => {
    let model: Model;
    let golden: SafetensorsFile;

    before(async () => {
      model = await loadModel(bundle, { device: 'cpu', threads: 1 });
      golden = await openSafetensors(goldenPath);
    });
    after(async () => {
      await model.close();
      await golden.close();
    });

    it('has runs to compare with', () => assert.ok(cases.length > 0));

    for (const run of cases) {
      it(run.name, async () => {
        const { latents, frames } = await compareRun(model, golden, run, familyFixtures);
        assert.ok(latents <= tolerance.latents, `latents differ by ${latents} of the largest`);
        assert.ok(frames <= tolerance.frames, `frames differ by up to ${frames} grey levels`);
      });
    }

    if (hasVae)
      it('its VAE, in any pieces', async () => {
        const { pixels, latents, decoded } = await readVae(golden);
        const encoded = await join(model.encode(inPieces(pixels, [lengthOf(pixels, axis.time)])));
        const largest = latents.data.reduce((most, value) => Math.max(most, Math.abs(value)), 1);
        assertClose(encoded, latents, vaeTolerance * largest);
        const pictures = await join(model.decode(inPieces(latents, [lengthOf(latents, axis.time)])));
        assertClose(pictures, decoded, vaeTolerance);
        for (const lengths of [[1], [4], [3, 7, 1], [1, 0, 5, 2]]) {
          assert.deepEqual(await join(model.encode(inPieces(pixels, lengths))), encoded);
          assert.deepEqual(await join(model.decode(inPieces(latents, lengths))), pictures);
        }
      });
  });
}
