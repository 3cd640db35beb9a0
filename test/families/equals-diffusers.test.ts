// What diffusers made with a toy pipeline of each family, against the same runs of its export (models/export/parity).
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { pipelines } from '../../pipelines/index.js';
import { loadModel } from '../../src/networks/load-model.js';
import type { Model } from '../../src/networks/model.js';
import { openSafetensors, readSafetensorsHeader, type SafetensorsFile } from '../../src/tensor/safetensors.js';
import { axis, concat, type Tensor } from '../../src/tensor/tensor.js';
import { assertClose, inPieces, join } from '../networks/tiny-model.js';

const folder = fileURLToPath(new URL('../../../test/fixtures/families/', import.meta.url));
const families: readonly string[] = ['tiny-wan'];

/** Share of the largest latent by which latents may differ. */
const latentsTolerance = 1e-4;
/** What one pass through one graph may add, in values of about 1. */
const vaeTolerance = 1e-4;

/** A run that both sides made. */
interface Case {
  readonly name: string;
  /** Name of a pipeline. */
  readonly pipeline: string;
  /** Its options; `input` is a file beside the goldens. */
  readonly options: Readonly<Record<string, unknown>> & { readonly width: number; readonly height: number };
}

for (const family of families) {
  const goldenPath = `${folder}${family}.safetensors`;
  const { metadata } = await readSafetensorsHeader(goldenPath);
  const cases = JSON.parse(metadata.cases ?? '[]') as Case[];

  describe(`${family} equals diffusers`, () => {
    let model: Model;
    let golden: SafetensorsFile;

    before(async () => {
      model = await loadModel(`${folder}${family}`, { device: 'cpu', threads: 1 });
      golden = await openSafetensors(goldenPath);
    });
    after(async () => {
      await model.close();
      await golden.close();
    });

    it('has runs to compare with', () => assert.ok(cases.length > 0));

    for (const run of cases) it(run.name, () => compareRun(model, golden, run));

    it('its VAE, in any pieces', async () => {
      const [pixels, latents, decoded] = await Promise.all(
        ['pixels', 'latents', 'decoded'].map((name) => golden.read(`vae.${name}`)),
      );
      assert.ok(pixels !== undefined && latents !== undefined && decoded !== undefined);
      const encoded = await join(model.encode(inPieces(pixels, [13])));
      const largest = latents.data.reduce((most, value) => Math.max(most, Math.abs(value)), 1);
      assertClose(encoded, latents, vaeTolerance * largest);
      const pictures = await join(model.decode(inPieces(latents, [4])));
      assertClose(pictures, decoded, vaeTolerance);
      for (const lengths of [[1], [4], [3, 7, 1], [1, 0, 5, 2]]) {
        assert.deepEqual(await join(model.encode(inPieces(pixels, lengths))), encoded);
        assert.deepEqual(await join(model.decode(inPieces(latents, lengths))), pictures);
      }
    });
  });
}

async function compareRun(model: Model, golden: SafetensorsFile, { name, pipeline, options }: Case): Promise<void> {
  const { input, ...rest } = options;
  const found = pipelines.find((candidate) => candidate.name === pipeline);
  assert.ok(found !== undefined, `no pipeline ${pipeline}`);
  const pieces: Tensor[] = [];
  const clip = await found.run(model, typeof input === 'string' ? { ...rest, input: `${folder}${input}` } : rest, {
    onLatents: (latents) => void pieces.push(latents),
  });
  const frames: Uint8Array[] = [];
  for await (const frame of clip.frames) {
    assert.deepEqual([frame.width, frame.height], [options.width, options.height]);
    frames.push(frame.data);
  }
  assertRelative(concat(pieces, axis.time), await golden.read(`${name}.latents`));
  const wanted = await golden.readIntegers(`${name}.frames`);
  assert.deepEqual([frames.length, options.height, options.width, 3], [...wanted.shape]);
  let worst = 0;
  for (const [at, value] of Buffer.concat(frames).entries()) {
    worst = Math.max(worst, Math.abs(value - Number(wanted.data[at])));
  }
  assert.ok(worst <= 1, `${name}: frames differ by up to ${worst} grey levels`);
}

function assertRelative(actual: Tensor, wanted: Tensor): void {
  const largest = wanted.data.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  assertClose(actual, wanted, latentsTolerance * largest);
}
