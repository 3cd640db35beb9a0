// LoRAs that come and go, and files that are none; what they make is held against diffusers in test/families.
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { textToVideo } from '../../pipelines/text-to-video.js';
import { FormatError, InvalidOptionError } from '../../src/errors.js';
import { readBundle } from '../../src/networks/bundle.js';
import { loadModel } from '../../src/networks/load-model.js';
import { planLoras } from '../../src/networks/lora.js';
import { readLoraLayers } from '../../src/networks/lora-file.js';
import { nameGraphs } from '../../src/networks/lora-names.js';
import type { Model } from '../../src/networks/model.js';
import { openSafetensors, writeSafetensors } from '../../src/tensor/safetensors.js';
import { axis, concat, createTensor, type Tensor } from '../../src/tensor/tensor.js';
import { familyFixtures } from '../families/fixtures.js';
import { assertClose, largestDifference, tinyBundlePath, writeTinyLora } from './tiny-model.js';

const bundle = `${familyFixtures}tiny-wan`;
const loraFolder = `${familyFixtures}tiny-wan-loras/`;
const options = { prompt: 'a red fox', width: 32, height: 48, numFrames: 5, steps: 2, seed: 5 };

async function generate(model: Model, asked: typeof options = options): Promise<{ latents: Tensor; frames: Buffer }> {
  const pieces: Tensor[] = [];
  const clip = await textToVideo.run(model, asked, { onLatents: (latents) => void pieces.push(latents) });
  const frames: Uint8Array[] = [];
  for await (const frame of clip.frames) frames.push(frame.data);
  return { latents: concat(pieces, axis.time), frames: Buffer.concat(frames) };
}

describe('LoRAs in a model', () => {
  it('are gone without a trace once taken out, and come back the same', async () => {
    const loras = [
      { path: `${loraFolder}peft.safetensors`, scale: 0.7 },
      { path: `${loraFolder}original.safetensors`, scale: -0.4 },
    ];
    const model = await loadModel(bundle, { device: 'cpu', threads: 1 });
    const plain = await generate(model);
    await model.setLoras(loras);
    const changed = await generate(model);
    assert.ok(largestDifference(changed.latents, plain.latents) > 0.1);
    await model.setLoras([]);
    assert.deepEqual(await generate(model), plain);
    await model.setLoras(loras.map(({ path }) => ({ path, scale: 0 })));
    assert.deepEqual(await generate(model), plain);
    await model.setLoras(loras);
    assert.deepEqual(await generate(model), changed);
    assert.deepEqual(
      model.loras.map(({ path, scale, unmatchedKeys }) => ({ path, scale, unmatchedKeys })),
      loras.map((choice) => ({ ...choice, unmatchedKeys: [] })),
    );
    await model.close();
    const loaded = await loadModel(bundle, { device: 'cpu', threads: 1, loras });
    assert.deepEqual(await generate(loaded), changed);
    await loaded.close();
  });
});

describe('LoRA files', () => {
  let folder: string;
  let path: string;
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'reelspace-lora-'));
    path = join(folder, 'a.safetensors');
  });
  after(() => rm(folder, { recursive: true }));

  const ones = (...shape: number[]): Tensor =>
    createTensor(shape, new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(0.1));
  const layer = (module: string, rows: number, columns: number, rank = 2): Record<string, Tensor> => ({
    [`${module}.lora_A.weight`]: ones(rank, columns),
    [`${module}.lora_B.weight`]: ones(rows, rank),
  });
  const toQ = layer('transformer.blocks.0.attn1.to_q', 24, 24);
  const load = () => loadModel(bundle, { device: 'cpu', threads: 1, loras: [{ path }] });
  const refused = async (tensors: Record<string, Tensor>, message: RegExp, metadata: Record<string, string> = {}) => {
    await writeSafetensors(path, tensors, metadata);
    await assert.rejects(load(), (error) => {
      assert.ok(error instanceof InvalidOptionError || error instanceof FormatError, String(error));
      assert.match(error.message, message);
      return true;
    });
  };

  it('for another model are refused, by name and by shape', async () => {
    await refused(
      layer('transformer.blocks.9.attn1.to_q', 24, 24),
      /^Nothing in .*a\.safetensors stands for a weight of tiny-wan .*blocks\.9/,
    );
    await refused(
      layer('transformer.blocks.0.attn1.to_q', 24, 32),
      /blocks\.0\.attn1\.to_q of .* to be a change of a weight of 24 by 24 numbers, got "\[24, 2\] times \[2, 32\]"\. It was made for another model/,
    );
    await refused(layer('transformer.blocks.0.attn1.to_q', 48, 24), /\[48, 2\] times \[2, 24\]/);
  });

  it('of halves that are missing or disagree are refused', async () => {
    const [down = '', up = ''] = Object.keys(toQ);
    await refused(
      { [down]: ones(2, 24) },
      /both halves of transformer\.blocks\.0\.attn1\.to_q, but lora_B or lora_up is missing/,
    );
    await refused({ ...toQ, [up]: ones(24, 3) }, /\[24, 3\] times \[2, 24\]/);
    await refused({ [down]: ones(0, 24), [up]: ones(24, 0) }, /\[24, 0\] times \[0, 24\]/);
    await refused(
      { ...toQ, 'transformer.blocks.0.attn1.to_q.lora_down.weight': ones(2, 24) },
      /two tensors for one place/,
    );
  });

  it('with a number that is none are refused', async () => {
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY]) {
      const up = ones(24, 2);
      up.data[47] = value;
      await refused(
        { ...toQ, 'transformer.blocks.0.attn1.to_q.lora_B.weight': up },
        new RegExp(`lora_B\\.weight of .* to be finite numbers, got ${value}`),
      );
    }
    await refused(
      { ...toQ, 'transformer.blocks.0.attn1.to_q.alpha': ones(2) },
      /alpha \/ rank of transformer\.blocks\.0\.attn1\.to_q .* to be a number, got NaN/,
    );
  });

  it('that hold more than is understood are refused, and name it, unless that is allowed', async () => {
    const more = {
      ...toQ,
      ...layer('transformer.blocks.7.attn1.to_q', 24, 24),
      'transformer.blocks.0.attn1.to_k.dora_scale': ones(24),
      strange: ones(1),
    };
    await refused(
      more,
      /holds tensors that stand for nothing in tiny-wan: transformer\.blocks\.7\.attn1\.to_q\.lora_A\.weight, .*strange, .*dora_scale\. .*--lora-partial/,
    );
    const model = await loadModel(bundle, { device: 'cpu', threads: 1, loras: [{ path }], loraPartial: true });
    assert.deepEqual(
      model.loras.map(({ weights, unmatchedKeys }) => [weights, unmatchedKeys.length]),
      [[1, 4]],
    );
    await assert.rejects(model.setLoras([{ path }]), InvalidOptionError);
    await assert.rejects(
      model.setLoras([{ path, scale: Number.NaN }], { partial: true }),
      /scale of .* to be a number, got NaN/,
    );
    assert.equal(model.loras.length, 1);
    await model.close();
  });

  it('with parts of other ways are understood by the last words of their names alone', async () => {
    const others = [
      'lora_mid.weight',
      'hada_w1_a',
      'lokr_w1',
      'oft_blocks',
      'diff_m',
      'a.lora_magnitude_vector.default.w',
    ];
    const names = others.map((name, index) => `transformer.blocks.${index}.${name}`);
    await writeSafetensors(
      path,
      Object.fromEntries([...names, '.lora_x.!', 'lora_mid.a'].map((name) => [name, ones(1)])),
    );
    const file = await openSafetensors(path);
    const { layers, unknownKeys } = await readLoraLayers(file, path);
    await file.close();
    assert.deepEqual(layers, []);
    assert.deepEqual(new Set(unknownKeys), new Set(file.entries.keys()));
    await refused(
      { ...toQ, [`.${'lora_'.repeat(20_000)}!`]: ones(1) },
      /length of a name to be at most 512, got 100002/,
    );
  });

  it('that lie about themselves are refused', async () => {
    await writeSafetensors(path, toQ);
    const whole = await readFile(path);
    const jsonBytes = Number(whole.readBigUInt64LE());
    const broken = async (bytes: Uint8Array, message: RegExp) => {
      await writeFile(path, bytes);
      await assert.rejects(load(), (error) => {
        assert.ok(error instanceof FormatError, String(error));
        assert.match(error.message, message);
        return true;
      });
    };
    const claim = (length: bigint): Buffer => {
      const bytes = Buffer.from(whole);
      bytes.writeBigUInt64LE(length);
      return bytes;
    };
    const json = whole.subarray(8, 8 + jsonBytes).toString();
    const rewritten = (from: string, to: string): Buffer => {
      assert.ok(json.includes(from));
      const text = json.replace(from, to).trimEnd().padEnd(jsonBytes);
      const length = Buffer.alloc(8);
      length.writeBigUInt64LE(BigInt(Buffer.byteLength(text)));
      return Buffer.concat([length, Buffer.from(text), whole.subarray(8 + jsonBytes)]);
    };
    await broken(claim(100_000_000_000n), /header length of .* to be at most \d+, got 100000000000/);
    await broken(whole.subarray(0, -4), /size of the data/);
    await broken(rewritten('[192,384]', '[188,380]'), /start of .*lora_B/);
    await broken(rewritten('[24,2]', '[24,3]'), /data of .*lora_B\.weight to be 288 bytes/);
    await broken(rewritten('[24,2]', '[5000000000,5]'), /data of .*lora_B\.weight to be 100000000000 bytes/);
    // What torch.save writes: a zip archive with a pickle in it.
    await broken(
      Buffer.concat([Buffer.from('PK\x03\x04\x00\x00\x08\x08archive/data.pkl'), Buffer.alloc(64)]),
      /header length/,
    );
    await broken(Buffer.from('\x80\x02}q\x00X'), /at least 8 bytes|header length/);
    await assert.rejects(
      loadModel(bundle, { device: 'cpu', loras: [{ path: join(folder, 'none.safetensors') }] }),
      /a file that can be read/,
    );
  });

  it('change any bundle whose weights have names, the text encoder too, as alpha and metadata say', async () => {
    const embeds = async (tensors: Record<string, Tensor>, metadata: Record<string, string> = {}, scale = 1) => {
      await writeSafetensors(path, tensors, metadata);
      const model = await loadModel(bundle, { device: 'cpu', threads: 1, loras: [{ path, scale }] });
      const made = await model.encodePrompts(['a red fox']);
      await model.close();
      return made.embeds;
    };
    const module = 'text_encoder.encoder.block.0.layer.0.SelfAttention.q';
    const tensors = layer(module, 16, 16);
    const once = await embeds(tensors);
    const twice = await embeds({ ...tensors, [`${module}.alpha`]: ones(1) }, {}, 2 / 0.1);
    assertClose(twice, once, 1e-5);
    const described = { 'text_encoder.lora_alpha': 4, 'text_encoder.r': 2 };
    const doubled = await embeds(tensors, { lora_adapter_metadata: JSON.stringify(described) });
    assertClose(doubled, await embeds(tensors, {}, 2), 1e-5);
    assert.ok(largestDifference(doubled, once) > 1e-3);
    await refused(tensors, /is a DoRA/, {
      lora_adapter_metadata: JSON.stringify({ ...described, 'text_encoder.use_dora': true }),
    });
    for (const lora_adapter_metadata of ['[', `{"a":${'['.repeat(100_000)}${']'.repeat(100_000)}}`]) {
      await refused(tensors, /lora_adapter_metadata .* a JSON object/, { lora_adapter_metadata });
    }
  });

  it('name modules in any way and change the same weights by the same numbers', async () => {
    const plan = async (name: string, tensors: Record<string, Tensor>) => {
      await writeSafetensors(path, tensors);
      return (await planLoras(await readBundle(`${familyFixtures}${name}`), [{ path, scale: 0.5 }])).read('denoiser');
    };
    const halves = (prefix: string, names: readonly [string, string], write: (module: string) => string) => {
      const [down, up] = Object.values(layer('', 24, 24));
      assert.ok(down !== undefined && up !== undefined);
      return {
        [`${prefix}${write(module)}.${names[0]}.weight`]: down,
        [`${prefix}${write(module)}.${names[1]}.weight`]: up,
      };
    };
    const module = 'blocks.1.self_attn.k';
    const underscores = (name: string) => name.replaceAll('.', '_');
    const wanted = await plan('tiny-wan', layer('transformer.blocks.1.attn1.to_k', 24, 24));
    assert.equal(wanted.length, 1);
    for (const tensors of [
      halves('diffusion_model.', ['lora_A', 'lora_B'], String),
      halves('diffusion_model.', ['lora_down', 'lora_up'], String),
      halves('lora_unet_', ['lora_down', 'lora_up'], underscores),
      halves('', ['lora_A.default', 'lora_B.default'], String),
    ]) {
      assert.deepEqual(await plan('tiny-wan', tensors), wanted, Object.keys(tensors)[0]);
    }
    const output = await plan('tiny-wan', layer('transformer.blocks.1.attn1.to_out.0', 24, 24));
    for (const [name, same] of [
      ['to_k', wanted],
      ['to_out', output],
    ] as const) {
      const processor = halves('transformer.blocks.1.attn1.processor.', ['down', 'up'], () => `${name}_lora`);
      assert.deepEqual(await plan('tiny-wan', processor), same);
    }
    // LTX-Video's authors call the modules as diffusers does.
    const query = 'transformer_blocks.0.attn1.to_q';
    const bundled = nameGraphs(await readBundle(`${familyFixtures}tiny-ltx`)).find(({ graph }) => graph === 'denoiser');
    const [rows = 0, columns = 0] = bundled?.weights.get(`${query}.weight`)?.shape ?? [];
    const theirs = await plan('tiny-ltx', layer(`diffusion_model.${query}`, rows, columns));
    assert.equal(theirs.length, 1);
    assert.deepEqual(theirs, await plan('tiny-ltx', layer(`transformer.${query}`, rows, columns)));
  });

  it('change the bundled kind of model', async () => {
    await writeTinyLora(path);
    const model = await loadModel(tinyBundlePath, { device: 'cpu', threads: 1 });
    const asked = { ...options, height: 40 };
    const plain = await generate(model, asked);
    await model.setLoras([{ path }]);
    assert.notDeepEqual(await generate(model, asked), plain);
    await model.close();
  });
});
