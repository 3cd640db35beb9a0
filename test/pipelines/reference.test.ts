// A picture of what a clip shows, for a model that takes it beside the prompt.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, test } from 'node:test';
import sharp from 'sharp';
import { inpaint } from '../../pipelines/inpaint.js';
import { textToVideo } from '../../pipelines/text-to-video.js';
import { InvalidOptionError } from '../../src/errors.js';
import type { Clip } from '../../src/media/clip.js';
import { loadModel } from '../../src/networks/load-model.js';
import { createTensor, filled } from '../../src/tensor/tensor.js';
import { temporaryFolder } from '../media/make-media.js';
import { collect } from '../networks/tiny-model.js';

const model = await loadModel('reel-tiny', { device: 'cpu', threads: 1 });
after(() => model.close());

/** Returns how much redder than green the clip's frames are in their middle, of 255, on average. */
async function redness({ frames }: Clip): Promise<number> {
  const made = await collect(frames);
  let sum = 0;
  for (const { data, width } of made) {
    for (let y = 60; y < 68; y++) {
      for (let x = 60; x < 68; x++) {
        const at = (y * width + x) * 3;
        sum += (data[at] as number) - (data[at + 1] as number);
      }
    }
  }
  return sum / 64 / made.length;
}

async function redPicture(): Promise<string> {
  const path = join(await temporaryFolder(), 'red.png');
  await sharp({ create: { width: 40, height: 40, channels: 4, background: '#e00000' } }).toFile(path);
  return path;
}

const prompt = 'a frog in the snow';
const quick = { prompt, steps: 4, seed: 1 };

test('a reference takes the place of the thing that the prompt names', async () => {
  const red = await redPicture();
  const run = (reference?: string) => textToVideo.run(model, { ...quick, numFrames: 5, reference });
  const clip = await run(red);
  assert.equal(clip.settings.reference, red);
  const [plain, shown] = [await redness(await run()), await redness(clip)];
  assert.ok(plain < 0 && shown > 100, `${plain} without, ${shown} with it`);
  await assert.rejects(
    run(`${red},b.png,c.png`),
    (error) =>
      error instanceof InvalidOptionError && /takes one picture, got 3\. Leave b\.png, c\.png out/.test(error.message),
  );
});

test('a word that stands for the reference is told as untaught, and that the reference is drawn', async () => {
  const { warnings } = await textToVideo.run(model, {
    ...quick,
    prompt: 'a wuglogo in the snow',
    numFrames: 1,
    reference: await redPicture(),
  });
  assert.equal(warnings.length, 1);
  assert.match(String(warnings), /not taught "wuglogo" and may pass over that; the reference is drawn all the same\.$/);
});

test('what is inpainted looks like the reference', async () => {
  const source = { input: 'samples/media/cup.mp4', mask: '40,0,240,240', maxFrames: 5, width: 128, height: 128 };
  const run = (reference?: string) => inpaint.run(model, { ...quick, ...source, reference });
  const [plain, shown] = [await redness(await run()), await redness(await run(await redPicture()))];
  assert.ok(shown > plain + 80, `${plain} without, ${shown} with it`);
});

test('a transparent reference is none, and each prompt of a batch may have its own', async () => {
  const latents = createTensor([1, 16, 2, 4, 4]);
  const call = { latents, timestep: 900, prompt: await model.encodePrompts([prompt]) };
  const plain = await model.denoise(call);
  const none = createTensor([1, 4, 48, 48]);
  assert.deepEqual((await model.denoise({ ...call, reference: none })).data, plain.data);
  const white = filled([1, 4, 48, 48], 1);
  const told = await model.denoise({ ...call, reference: white });
  const size = plain.data.length;
  const both = createTensor([2, 4, 48, 48]);
  both.data.set(white.data, white.data.length);
  const pair = await model.denoise({ ...call, reference: both });
  const off = (from: number, wanted: Float32Array) =>
    Math.max(...wanted.map((value, at) => Math.abs(value - (pair.data[from + at] as number))));
  assert.ok(off(0, plain.data) < 0.01 && off(size, told.data) < 0.01);
  assert.ok(off(0, told.data) > 0.1);
  await assert.rejects(
    model.denoise({ ...call, reference: createTensor([1, 4, 32, 32]) }),
    /shape of reference to be "?\[B, 4, 48, 48\]/,
  );
});
