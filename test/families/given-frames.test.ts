// Models that are told of pictures and clips: what they refuse, and that long clips stay told of where they start.
import assert from 'node:assert/strict';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { extend } from '../../pipelines/extend.js';
import { imageToVideo } from '../../pipelines/image-to-video.js';
import { textToVideo } from '../../pipelines/text-to-video.js';
import { videoToVideo } from '../../pipelines/video-to-video.js';
import type { Progress } from '../../src/diffusion/progress.js';
import { CallCount } from '../../src/diffusion/step-cache.js';
import { InvalidOptionError } from '../../src/errors.js';
import type { Clip } from '../../src/media/clip.js';
import { loadModel } from '../../src/networks/load-model.js';
import type { DenoiserCall, Model } from '../../src/networks/model.js';
import { axis, concat, slice, type Tensor } from '../../src/tensor/tensor.js';
import { familyFixtures } from './fixtures.js';

const clip = `${familyFixtures}tiny-wan.mkv`;
const picture = `${familyFixtures}tiny-wan-i2v-32x48-first.png`;
const small = { width: 32, height: 48, steps: 2, seed: 1, guidanceScale: 1 } as const;
const prompt = 'a cat';

let scratch: string;
const models: Model[] = [];
before(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'reelspace-given-'));
});
after(async () => {
  for (const model of models) await model.close();
  await rm(scratch, { recursive: true });
});

async function open(path: string): Promise<Model> {
  const model = await loadModel(path, { device: 'cpu', threads: 1 });
  models.push(model);
  return model;
}

async function latentsOf(run: (onLatents: (latents: Tensor) => void) => Promise<Clip>): Promise<Tensor> {
  const pieces: Tensor[] = [];
  for await (const _ of (await run((latents) => void pieces.push(latents))).frames);
  return concat(pieces, axis.time);
}

async function refused(message: RegExp, run: Promise<Clip>) {
  await assert.rejects(
    run.then(async ({ frames }) => {
      for await (const _ of frames);
    }),
    (error) => {
      assert.ok(error instanceof InvalidOptionError, String(error));
      assert.match(error.message, message);
      return true;
    },
  );
}

test('a model that starts from a picture does nothing else', async () => {
  const model = await open(`${familyFixtures}tiny-wan-i2v`);
  await refused(/able to do "text", but it does first-frame/, textToVideo.run(model, { prompt }));
  await refused(/able to do "last-frame"/, imageToVideo.run(model, { ...small, input: picture, last: picture }));
  const between = { keyframes: { 4: picture } };
  await refused(/able to do "keyframes"/, imageToVideo.run(model, { ...small, input: picture, ...between }));
  await refused(
    /no strength of pictures, .* keeps them as they are, got 0\.5\. Leave it out/,
    imageToVideo.run(model, { ...small, input: picture, pictureStrength: 0.5 }),
  );
  await refused(/able to do "restyle"/, videoToVideo.run(model, { ...small, input: clip, prompt, strength: 0.5 }));
  const added = (numFrames: number) => extend.run(model, { ...small, input: clip, prompt, numFrames });
  await refused(/frames to be a multiple of 4, got 2\. The nearest are 4 and 8\./, added(2));
  await refused(/frames to be a multiple of 4, got 10\. The nearest are 8 and 12\./, added(10));
  const prompts = await model.encodePrompts([prompt]);
  const latents = { shape: [1, 4, 1, 2, 2], data: new Float32Array(16) };
  await assert.rejects(model.denoise({ latents, timestep: 1, prompt: prompts }), /condition latents to be given/);
  await assert.rejects(
    model.denoise({ latents, timestep: 1, prompt: prompts, conditionLatents: latents }),
    /image embeds to be given, as this model starts from a picture/,
  );
  await assert.rejects(model.encodeImages(latents), /shape of pictures to be \[B, 3, height, width\]/);
});

test('a model of one denoiser takes no guidance for a second', async () => {
  const model = await open(`${familyFixtures}tiny-wan-i2v`);
  await refused(
    /has one denoiser, got 3\. Leave it out/,
    imageToVideo.run(model, { ...small, input: picture, guidanceScale2: 3 }),
  );
});

test('the step cache forgets what it knows where the guidance of the second denoiser ends', async () => {
  const model = await open(`${familyFixtures}tiny-wan-two-i2v`);
  const madeBy = async (scales: { guidanceScale: number; guidanceScale2: number }) => {
    const calls = new CallCount();
    const made: number[] = [];
    const onProgress = ({ stage, done }: Progress) => {
      if (stage === 'denoise' && calls.made > made.length) made.push(done - 1);
    };
    const options = {
      ...small,
      input: picture,
      prompt,
      steps: 20,
      guidanceEnd: 0.8,
      cache: 1,
      numFrames: 1,
      ...scales,
    };
    for await (const _ of (await imageToVideo.run(model, options, { calls, onProgress })).latents);
    return made;
  };
  // Of 20 calls, 7 is the first of the second denoiser's, and 16 the first behind the end of guidance.
  const unguided = await madeBy({ guidanceScale: 1, guidanceScale2: 1 });
  assert.ok(!unguided.includes(16));
  // The first denoiser has made its last call by then.
  assert.deepEqual(await madeBy({ guidanceScale: 3, guidanceScale2: 1 }), unguided);
  const guided = await madeBy({ guidanceScale: 1, guidanceScale2: 3 });
  assert.ok(guided.includes(16) && guided.includes(17), String(guided));
});

test('pictures for frames that a clip lacks, and clips that are too long for pictures beside them, are refused', async () => {
  const model = await open(`${familyFixtures}tiny-ltx-condition`);
  const held = { width: 32, height: 32, steps: 2, seed: 1, input: picture, prompt } as const;
  const at = (frame: number, numFrames: number) =>
    imageToVideo.run(model, { ...held, numFrames, keyframes: { [frame]: picture } });
  await refused(/frame of a picture to be below the last one, 8, got 8\. Give the last one by --last\./, at(8, 9));
  await refused(/clip with pictures beside it to be at most 21, got 22\. Ask for fewer frames/, at(8, 169));
});

test('a model of one size takes no other, and makes a picture of any size that large', async () => {
  const model = await open(`${familyFixtures}tiny-cogvideox-5b-i2v`);
  await refused(
    /width to be 32, as this model makes one size alone, got 48/,
    imageToVideo.run(model, { ...small, input: picture, width: 48 }),
  );
  const { width, height } = await imageToVideo.run(model, { input: picture, steps: 1, numFrames: 1 });
  assert.deepEqual([width, height], [32, 16]);
});

test('a clip of several windows is told of its start, and of what it shares, in each', async () => {
  const folder = join(scratch, 'short-windows');
  await cp(`${familyFixtures}tiny-wan-i2v`, folder, { recursive: true });
  const file = join(folder, 'reelspace.json');
  const manifest = JSON.parse(await readFile(file, 'utf8'));
  manifest.window = { latentFrames: 3, overlap: 1 };
  await writeFile(file, JSON.stringify(manifest));
  const model = await open(folder);
  const run = (numFrames: number) =>
    latentsOf((onLatents) => imageToVideo.run(model, { ...small, input: picture, prompt, numFrames }, { onLatents }));
  const long = await run(17);
  assert.deepEqual(long.shape, [1, 4, 5, 6, 4]);
  const first = await run(9);
  assert.deepEqual(slice(long, axis.time, 0, 3), first);
  const extended = await latentsOf((onLatents) =>
    extend.run(model, { ...small, input: clip, prompt, numFrames: 8 }, { onLatents }),
  );
  assert.deepEqual(extended.shape, [1, 4, 3, 6, 4]);

  const told: (Tensor | undefined)[] = [];
  const watched = new Proxy(model, {
    get(target, key: keyof Model) {
      const value = target[key];
      if (typeof value !== 'function') return value;
      return (...given: unknown[]) => {
        if (key === 'denoise') told.push((given[0] as DenoiserCall).conditionMask);
        return Reflect.apply(value, target, given);
      };
    },
  });
  const options = { ...small, input: picture, prompt, numFrames: 17, windows: 'joint' } as const;
  for await (const _ of (await imageToVideo.run(watched, options)).latents);
  assert.equal(told.length, 2 * small.steps);
  assert.equal(new Set(told).size, 2, 'the condition of a window is made once');
});
