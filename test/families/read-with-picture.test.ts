// Models that read a prompt with the picture that a clip starts from, as the clip's first frame or as one in front of it.
import assert from 'node:assert/strict';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { decode } from '../../pipelines/decode.js';
import { extend } from '../../pipelines/extend.js';
import { imageToVideo } from '../../pipelines/image-to-video.js';
import { textToVideo } from '../../pipelines/text-to-video.js';
import { saveClip } from '../../src/diffusion/save.js';
import { InvalidOptionError } from '../../src/errors.js';
import type { Clip } from '../../src/media/clip.js';
import { loadModel } from '../../src/networks/load-model.js';
import type { Model } from '../../src/networks/model.js';
import { axis, concat, createTensor, slice, type Tensor } from '../../src/tensor/tensor.js';
import { familyFixtures } from './fixtures.js';

const picture = `${familyFixtures}tiny-hunyuan-video-32x16.png`;
const names = ['tiny-hunyuan-video-i2v', 'tiny-hunyuan-video-i2v-concat'] as const;
const [inside, inFront] = names;
const asked = { input: picture, prompt: 'a cat', width: 32, height: 16, steps: 2, seed: 1, guidanceScale: 1 } as const;

let scratch: string;
const models = new Map<string, Model>();
before(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'reelspace-shown-'));
  for (const name of names) models.set(name, await loadModel(familyFixtures + name, { device: 'cpu', threads: 1 }));
});
after(async () => {
  for (const model of models.values()) await model.close();
  await rm(scratch, { recursive: true });
});

function modelOf(name: string): Model {
  return models.get(name) as Model;
}

async function bytesOf({ frames }: Clip): Promise<Uint8Array[]> {
  const bytes: Uint8Array[] = [];
  for await (const { data } of frames) bytes.push(data.slice());
  return bytes;
}

async function latentsOf({ latents }: Clip): Promise<Tensor> {
  const pieces: Tensor[] = [];
  for await (const piece of latents) pieces.push(piece);
  return concat(pieces, axis.time);
}

test('a prompt reads otherwise with another picture, and with none it is refused', async () => {
  const model = modelOf(inside);
  const [one, other] = await Promise.all(
    [0.5, -0.5].map((level) => model.encodeImages(createTensor([1, 3, 16, 32], new Float32Array(1536).fill(level)))),
  );
  const read = async (imageEmbeds: Tensor) => (await model.encodePrompts(['a (red:1.4) cat'], { imageEmbeds })).embeds;
  const first = await read(one as Tensor);
  assert.notDeepEqual(await read(other as Tensor), first);
  assert.deepEqual(await read(one as Tensor), first);
  // A prompt beside it, with another picture, makes no difference.
  const both = concat([one as Tensor, createTensor((one as Tensor).shape)], axis.batch);
  const { embeds } = await model.encodePrompts(['a (red:1.4) cat', 'a (dog:0.5)'], { imageEmbeds: both });
  const alone = slice(embeds, axis.batch, 0, 1);
  assert.deepEqual(alone.shape, first.shape);
  for (const [at, value] of alone.data.entries()) assert.ok(Math.abs(value - (first.data[at] as number)) < 1e-5);
  const cases: [() => Promise<unknown>, RegExp][] = [
    [() => model.encodePrompts(['a cat']), /image embeds to be given, as this model reads prompts with a picture, got/],
    [
      () => model.encodePrompts(['a', 'b'], { imageEmbeds: one }),
      /text_encoder\/model\.onnx to be \[2, tokens, width\]/,
    ],
    [() => textToVideo.run(model, { prompt: 'a cat' }), /able to do "text", but it does first-frame/],
  ];
  for (const [run, message] of cases) {
    await assert.rejects(run, (error) => error instanceof InvalidOptionError && message.test(error.message));
  }
});

test('a picture in front of a clip is left out of it, also where its latents are decoded later', async () => {
  const model = modelOf(inFront);
  const animate = () => imageToVideo.run(model, { ...asked, numFrames: 5 });
  const frames = await bytesOf(await animate());
  assert.equal(frames.length, 5);
  const latents = await animate();
  assert.equal(latents.leadFrames, 4);
  const path = join(scratch, 'clip.safetensors');
  await saveClip(latents, path);
  const copy = join(scratch, 'copy.safetensors');
  await saveClip(await decode.run(model, { input: path }), copy);
  for (const input of [path, copy]) {
    const decoded = await decode.run(model, { input });
    assert.equal(decoded.numFrames, 5);
    assert.deepEqual(await bytesOf(decoded), frames);
  }
});

for (const name of names) {
  test(`${name} goes on from a picture as it starts from one`, async () => {
    const model = modelOf(name);
    const lead = name === inFront ? 4 : 0;
    const started = imageToVideo.run(model, { ...asked, frameRate: 8, numFrames: 9 });
    const extended = extend.run(model, { ...asked, frameRate: 8, numFrames: 8 });
    const [first, ...others] = await bytesOf(await started);
    const made = await bytesOf(await extended);
    // The picture itself, and then what follows it.
    assert.equal(made.length, 9);
    assert.deepEqual(made.slice(1), lead > 0 ? [first, ...others].slice(0, 8) : others);
    const path = join(scratch, `${name}.safetensors`);
    await saveClip(await extend.run(model, { ...asked, frameRate: 8, numFrames: 8 }), path);
    assert.deepEqual(await bytesOf(await decode.run(model, { input: path })), made.slice(1));
  });

  test(`${name} makes clips of several windows, alike each time`, async () => {
    const folder = join(scratch, name);
    await cp(familyFixtures + name, folder, { recursive: true });
    const file = join(folder, 'reelspace.json');
    const manifest = JSON.parse(await readFile(file, 'utf8'));
    await writeFile(file, JSON.stringify({ ...manifest, window: { latentFrames: 3, overlap: 1 } }));
    const model = await loadModel(folder, { device: 'cpu', threads: 1 });
    try {
      const run = (numFrames: number, windows: 'stream' | 'joint') =>
        imageToVideo.run(model, { ...asked, numFrames, windows });
      const long = await latentsOf(await run(17, 'stream'));
      const isInFront = name === inFront ? 1 : 0;
      assert.deepEqual(long.shape, [1, 4, 5 + isInFront, 2, 4]);
      assert.ok(long.data.every(Number.isFinite));
      const again = await latentsOf(await run(17, 'stream'));
      assert.deepEqual(again, long);
      assert.notDeepEqual(await latentsOf(await run(17, 'joint')), long);
    } finally {
      await model.close();
    }
  });
}
