// Every pipeline against the same run worked out in PyTorch with diffusers' schedulers (models/goldens/make_pipelines.py).
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { decode } from '../../pipelines/decode.js';
import { extend } from '../../pipelines/extend.js';
import { imageToVideo } from '../../pipelines/image-to-video.js';
import { inpaint } from '../../pipelines/inpaint.js';
import { morph } from '../../pipelines/morph.js';
import { textToVideo } from '../../pipelines/text-to-video.js';
import { videoToVideo } from '../../pipelines/video-to-video.js';
import type { Clip } from '../../src/media/clip.js';
import { loadModel } from '../../src/networks/load-model.js';
import type { Model } from '../../src/networks/model.js';
import { openSafetensors, type SafetensorsFile } from '../../src/tensor/safetensors.js';
import { axis, concat, type Tensor } from '../../src/tensor/tensor.js';

const size = { width: 24, height: 40 };
const sampling = { steps: 4, guidanceScale: 3, seed: 7 };
const goldens = 'test/goldens';
const cat = 'a cat on the beach';
const fox = 'a red fox';

/** Largest difference of latents, relative to the largest golden one. */
const latentsTolerance = 1e-4;

let model: Model;
let golden: SafetensorsFile;

before(async () => {
  model = await loadModel('test/fixtures/tiny-bundle', { device: 'cpu' });
  golden = await openSafetensors(`${goldens}/pipelines.safetensors`);
});
after(async () => {
  await model.close();
  await golden.close();
});

/** Runs a clip with its latents overheard, and compares both with the golden ones. */
async function compare(name: string, run: (onLatents: (latents: Tensor) => void) => Promise<Clip>): Promise<void> {
  const pieces: Tensor[] = [];
  const clip = await run((latents) => pieces.push(latents));
  const frames: Uint8Array[] = [];
  for await (const frame of clip.frames) {
    assert.deepEqual([frame.width, frame.height], [size.width, size.height]);
    frames.push(frame.data);
  }
  assert.equal(clip.numFrames ?? frames.length, frames.length);
  if (!name.startsWith('inpaint')) await compareLatents(name, concat(pieces, axis.time));
  const expectedFrames = await golden.readIntegers(`${name}.frames`);
  assert.equal(frames.length, expectedFrames.shape[0], 'number of frames');
  const actual = Buffer.concat(frames);
  let worst = 0;
  for (const [i, value] of actual.entries()) worst = Math.max(worst, Math.abs(value - Number(expectedFrames.data[i])));
  assert.ok(worst <= 1, `${name}: frames differ by up to ${worst} grey levels`);
}

async function compareLatents(name: string, actual: Tensor): Promise<void> {
  const wanted = await golden.read(`${name}.latents`);
  assert.deepEqual(actual.shape, wanted.shape);
  let worst = 0;
  let largest = 0;
  for (const [i, value] of wanted.data.entries()) {
    worst = Math.max(worst, Math.abs(value - (actual.data[i] as number)));
    largest = Math.max(largest, Math.abs(value));
  }
  assert.ok(worst <= latentsTolerance * largest, `${name}: latents differ by ${worst} of ${largest}`);
}

describe('textToVideo equals the reference', () => {
  const cases: [string, Partial<Parameters<typeof textToVideo.run>[1]>][] = [
    ['generate', {}],
    ['generate-unguided', { guidanceScale: 1 }],
    ['generate-negative', { negativePrompt: 'the sea at night' }],
    ['generate-unipc', { scheduler: 'unipc' }],
    ['generate-stream', { numFrames: 25 }],
    ['generate-joint', { numFrames: 25, windows: 'joint' }],
  ];
  for (const [name, options] of cases) {
    it(name, () =>
      compare(name, (onLatents) =>
        textToVideo.run(model, { prompt: cat, numFrames: 9, ...size, ...sampling, ...options }, { onLatents }),
      ),
    );
  }
});

describe('videoToVideo equals the reference', () => {
  const cases: [string, string, number][] = [
    ['restyle', 'short.mkv', 0.6],
    ['restyle-full', 'short.mkv', 1],
    ['restyle-long', 'long.mkv', 0.6],
  ];
  for (const [name, file, strength] of cases) {
    it(name, () =>
      compare(name, (onLatents) =>
        videoToVideo.run(
          model,
          { input: `${goldens}/${file}`, prompt: fox, strength, ...size, ...sampling },
          { onLatents },
        ),
      ),
    );
  }
});

describe('imageToVideo equals the reference', () => {
  const input = { input: `${goldens}/first.png`, prompt: cat, numFrames: 13, ...size, ...sampling };
  it('animate', () => compare('animate', (onLatents) => imageToVideo.run(model, input, { onLatents })));
  it('animate-last', () =>
    compare('animate-last', (onLatents) =>
      imageToVideo.run(model, { ...input, last: `${goldens}/last.png` }, { onLatents }),
    ));
});

describe('extend equals the reference', () => {
  it('extend', async () => {
    const source = 11;
    const pieces: Tensor[] = [];
    const clip = await extend.run(
      model,
      { input: `${goldens}/short.mkv`, prompt: cat, numFrames: 8, ...size, ...sampling },
      { onLatents: (latents) => void pieces.push(latents) },
    );
    const frames: Uint8Array[] = [];
    for await (const frame of clip.frames) frames.push(frame.data);
    await compareLatents('extend', concat(pieces, axis.time));
    const wanted = await golden.readIntegers('extend.frames');
    assert.equal(frames.length, source + 8);
    const made = Buffer.concat(frames.slice(source));
    assert.ok(made.every((value, i) => Math.abs(value - Number(wanted.data[i])) <= 1));
  });
});

describe('inpaint equals the reference', () => {
  it('inside the mask, and the source outside of it', async () => {
    const input = `${goldens}/long.mkv`;
    const pieces: Tensor[] = [];
    const clip = await inpaint.run(
      model,
      { input, prompt: fox, mask: '9,10,12,20', ...size, ...sampling },
      { onLatents: (latents) => void pieces.push(latents) },
    );
    const frames: Uint8Array[] = [];
    for await (const frame of clip.frames) frames.push(frame.data);
    await compareLatents('inpaint', concat(pieces, axis.time));
    const wanted = await golden.readIntegers('inpaint.frames');
    const { readFrames } = await import('../../src/media/read-frames.js');
    let time = 0;
    for await (const source of readFrames(input)) {
      const made = frames[time] as Uint8Array;
      for (let y = 0; y < size.height; y++) {
        for (let x = 0; x < size.width; x++) {
          const at = 3 * (y * size.width + x);
          const isOutside = x < 9 || x >= 21 || y < 10 || y >= 30;
          const isDeepInside = x >= 13 && x < 17 && y >= 14 && y < 26;
          for (let i = at; i < at + 3; i++) {
            if (isOutside) assert.equal(made[i], source.data[i], 'a pixel outside the mask changed');
            if (!isDeepInside) continue;
            const reference = Number(wanted.data[time * source.data.length + i]);
            assert.ok(Math.abs((made[i] as number) - reference) <= 1, 'a pixel inside the mask is not the one made');
          }
        }
      }
      time++;
    }
    assert.equal(frames.length, time);
  });
});

const morphed = { ease: 'smooth' as const, numFrames: 17, frameRate: 8, ...size, ...sampling };
const morphOfPictures = { ...morphed, keyframes: [`${goldens}/first.png`, `${goldens}/last.png`], refine: 0.75 };

describe('morph equals the reference', () => {
  const options = { ...morphed, keyframes: [`${goldens}/first.png`, `${goldens}/short.mkv`, fox], numFrames: 25 };
  it('morph-plain', () =>
    compare('morph-plain', (onLatents) => morph.run(model, { ...options, refine: 0 }, { onLatents })));
  it('morph, window by window', () =>
    compare('morph', (onLatents) => morph.run(model, { ...options, refine: 0.6, windows: 'stream' }, { onLatents })));
  it('morph between pictures, which glides', () =>
    compare('morph-pictures', (onLatents) => morph.run(model, morphOfPictures, { onLatents })));
});

describe('decode equals the reference', () => {
  const fromFile = async (name: string, source: Promise<Clip>) => {
    const { mkdtemp, rm } = await import('node:fs/promises');
    const { tmpdir } = await import('node:os');
    const { join } = await import('node:path');
    const { saveClip } = await import('../../src/diffusion/save.js');
    const folder = await mkdtemp(join(tmpdir(), 'reelspace-'));
    try {
      const [path, copy] = [join(folder, 'clip.safetensors'), join(folder, 'copy.safetensors')];
      await saveClip(await source, path);
      await saveClip(await decode.run(model, { input: path }), copy);
      for (const input of [path, copy]) await compare(name, (onLatents) => decode.run(model, { input }, { onLatents }));
    } finally {
      await rm(folder, { recursive: true });
    }
  };
  it('from saved latents', () =>
    fromFile('generate', textToVideo.run(model, { prompt: cat, numFrames: 9, ...size, ...sampling })));
  it('from saved latents that glide', () => fromFile('morph-pictures', morph.run(model, morphOfPictures)));
});
