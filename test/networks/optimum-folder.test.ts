// A folder as optimum exports it, with nothing converted: the toy pipeline of tiny-sd, whose goldens it must meet
// (models/goldens/make_optimum.py).
import assert from 'node:assert/strict';
import { copyFile, cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, it, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { BundleError, InvalidOptionError } from '../../src/errors.js';
import { readBundle, verifyBundle } from '../../src/networks/bundle.js';
import { loadModel } from '../../src/networks/load-model.js';
import type { Model } from '../../src/networks/model.js';
import { openSafetensors, type SafetensorsFile } from '../../src/tensor/safetensors.js';
import { type Case, compareRun, readCases, readVae, tolerance } from '../families/compare.js';
import { familyFixtures } from '../families/fixtures.js';
import { assertClose, collect, inPieces, join } from './tiny-model.js';

const fixtures = fileURLToPath(new URL('../../../test/fixtures/optimum/', import.meta.url));
const folder = `${fixtures}tiny-sd`;
const goldenPath = `${familyFixtures}tiny-sd.safetensors`;
/** The graphs have a UNet that halves the latents once. */
const sizeMultiple = 16;

let scratch: string;
let golden: SafetensorsFile;
before(async () => {
  scratch = await mkdtemp(path.join(tmpdir(), 'reelspace-optimum-'));
  golden = await openSafetensors(goldenPath);
});
after(async () => {
  await golden.close();
  await rm(scratch, { recursive: true });
});

/** Returns a copy of the folder, altered. */
async function altered(name: string, alter: (copy: string) => Promise<void>): Promise<string> {
  const copy = path.join(scratch, name);
  await cp(folder, copy, { recursive: true });
  await alter(copy);
  return copy;
}

async function editJson(file: string, edit: (content: Record<string, unknown>) => void): Promise<void> {
  const content = JSON.parse(await readFile(file, 'utf8'));
  edit(content);
  await writeFile(file, JSON.stringify(content));
}

for (const toy of ['tiny-sd', 'tiny-sdxl', 'tiny-lcm']) {
  const toyGoldens = `${familyFixtures}${toy}.safetensors`;
  const { cases } = await readCases(toyGoldens);
  const isPossible = ({ options }: Case) => [options.width, options.height].every((side) => side % sizeMultiple === 0);

  describe(`${toy}, as optimum exports it, equals diffusers`, () => {
    let model: Model;
    let wanted: SafetensorsFile;
    before(async () => {
      const whole = path.join(scratch, toy);
      await cp(folder, whole, { recursive: true });
      // Graphs of the VAE, which tiny-sd has too, are kept once.
      await cp(`${fixtures}${toy}`, whole, { recursive: true });
      model = await loadModel(whole, { device: 'cpu', threads: 1 });
      wanted = await openSafetensors(toyGoldens);
    });
    after(async () => {
      await wanted.close();
      await model.close();
    });

    for (const run of cases.filter(isPossible)) {
      it(run.name, async () => {
        const difference = await compareRun(model, wanted, run, familyFixtures);
        assert.ok(difference.latents <= tolerance.latents, `latents differ by ${difference.latents}`);
        assert.ok(difference.frames <= tolerance.frames, `frames differ by ${difference.frames}`);
      });
    }

    it('refuses sizes that its graphs would not put together again', async () => {
      const impossible = cases.filter((run) => !isPossible(run));
      assert.ok(impossible.length > 0);
      for (const run of impossible) {
        await assert.rejects(compareRun(model, wanted, run, familyFixtures), (error) => {
          assert.ok(error instanceof InvalidOptionError);
          assert.match(error.message, /a multiple of 16/);
          return true;
        });
      }
    });
  });
}

test('a folder describes itself', async () => {
  const { manifest } = await readBundle(folder);
  const { name, tasks, latent, defaults } = manifest;
  assert.deepEqual(
    { name, tasks, latent, side: [defaults.width, defaults.height] },
    {
      name: 'tiny-sd',
      tasks: ['text', 'restyle', 'inpaint'],
      latent: { channels: 4, temporalCompression: 1, spatialCompression: 8, sizeMultiple },
      side: [64, 64],
    },
  );
});

test('models of few steps have defaults of their own', async () => {
  const defaultsOf = async (path: string) => {
    const { steps, guidanceScale } = (await readBundle(path)).manifest.defaults;
    return { steps, guidanceScale };
  };
  const rename = (name: string) => (copy: string) =>
    editJson(path.join(copy, 'model_index.json'), (index) => Object.assign(index, { _name_or_path: name }));
  const usual = { steps: 50, guidanceScale: 7.5 };
  const turbo = { steps: 4, guidanceScale: 0 };
  assert.deepEqual(await defaultsOf(folder), usual);
  assert.deepEqual(await defaultsOf(await altered('a', rename('stabilityai/sd-turbo'))), turbo);
  assert.deepEqual(await defaultsOf(await altered('my_Turbo_v2', async () => {})), turbo);
  assert.deepEqual(await defaultsOf(await altered('turbocharged', rename('a/turbofan'))), usual);
  const told = await altered('told', (copy) => cp(`${fixtures}tiny-lcm`, copy, { recursive: true }));
  assert.deepEqual(await defaultsOf(told), { steps: 4, guidanceScale: 8.5 });
});

test('an encoder that gives latents and not their distribution is understood', async () => {
  const older = await altered('older', (copy) =>
    copyFile(`${fixtures}older-encoder.onnx`, path.join(copy, 'vae_encoder/model.onnx')),
  );
  const model = await loadModel(older, { device: 'cpu', threads: 1 });
  try {
    const { pixels, latents } = await readVae(golden);
    // The height of 48 pixels is no multiple of 16 latents; 32 is.
    assertClose(await join(model.encode(inPieces(pixels, [1]))), latents, 1e-4);
    const [piece] = await collect(model.encodePosterior(inPieces(pixels, [3])));
    assert.equal(piece?.deviation, undefined);
  } finally {
    await model.close();
  }
});

test('a folder that can’t be read is named with what is wrong', async () => {
  const cases: [string, (copy: string) => Promise<void>, RegExp][] = [
    [
      'more',
      (copy) =>
        editJson(path.join(copy, 'model_index.json'), (index) => Object.assign(index, { prior: ['a', 'Prior'] })),
      /it has prior too/,
    ],
    [
      'less',
      (copy) => editJson(path.join(copy, 'model_index.json'), (index) => Object.assign(index, { vae: [null, null] })),
      /it lacks vae/,
    ],
    ['half', (copy) => rm(path.join(copy, 'vae_decoder/model.onnx')), /lacks vae_decoder\/model\.onnx/],
    ['plain', (copy) => rm(path.join(copy, 'unet/model.onnx')), /unet\/model\.onnx as optimum exports it/],
    [
      'one-of-two',
      (copy) =>
        editJson(path.join(copy, 'model_index.json'), (index) =>
          Object.assign(index, { text_encoder_2: ['a', 'Two'] }),
        ),
      /it lacks tokenizer_2/,
    ],
    ['unnamed', (copy) => rm(path.join(copy, 'unet/config.json')), /lacks unet\/config\.json/],
    [
      'unscaled',
      (copy) =>
        editJson(path.join(copy, 'vae_decoder/config.json'), (config) =>
          Reflect.deleteProperty(config, 'scaling_factor'),
        ),
      /vae_decoder\/config\.json to be the config of a network of pictures, but scaling_factor/,
    ],
    [
      'endless',
      (copy) =>
        editJson(path.join(copy, 'text_encoder/config.json'), (config) =>
          Object.assign(config, { max_position_embeddings: 10 ** 9 }),
        ),
      /text_encoder\/config\.json .*but max_position_embeddings: .*<=100000/,
    ],
  ];
  for (const [name, alter, message] of cases) {
    await assert.rejects(readBundle(await altered(name, alter)), (error) => {
      assert.ok(error instanceof BundleError);
      assert.match(error.message, message);
      return true;
    });
  }
  await assert.rejects(verifyBundle(await readBundle(folder)), /no reelspace\.json/);
});

test('tokenizer files that make no tokenizer are named when a prompt is read', async () => {
  const config = 'tokenizer/tokenizer_config.json';
  const cases: [string, (copy: string) => Promise<void>, RegExp][] = [
    ['no-merges', (copy) => rm(path.join(copy, 'tokenizer/merges.txt')), /lacks tokenizer\/tokenizer\.json/],
    [
      'other-class',
      (copy) => editJson(path.join(copy, config), (content) => Object.assign(content, { tokenizer_class: 'Other' })),
      /CLIPTokenizer.*got Other/,
    ],
    [
      'no-end',
      (copy) => editJson(path.join(copy, config), (content) => Object.assign(content, { eos_token: 'unheard' })),
      /to name a eos_token/,
    ],
  ];
  for (const [name, alter, message] of cases) {
    const model = await loadModel(await altered(name, alter), { device: 'cpu', threads: 1 });
    try {
      await assert.rejects(model.encodePrompts(['a red cat']), (error) => {
        assert.ok(error instanceof BundleError);
        assert.match(error.message, message);
        return true;
      });
    } finally {
      await model.close();
    }
  }
});
