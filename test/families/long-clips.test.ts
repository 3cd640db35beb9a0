// Clips of more frames than a model with motion modules takes at a time: how their windows lie. What comes of them is held to diffusers' networks
// beside this (tiny-animatediff-long); diffusers' own way for such clips (FreeNoise, arXiv 2310.15169) blends inside the network and shuffles one
// window's noise.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { textToVideo } from '../../pipelines/text-to-video.js';
import { loadModel } from '../../src/networks/load-model.js';
import type { Model } from '../../src/networks/model.js';
import { axis, type Tensor } from '../../src/tensor/tensor.js';
import { familyFixtures } from './fixtures.js';

const asked = { prompt: 'a red cat', width: 16, height: 24, steps: 2, seed: 3, guidanceScale: 3 } as const;
const window = 16;
const overlap = 4;

let model: Model;
before(async () => {
  model = await loadModel(`${familyFixtures}tiny-animatediff`, { device: 'cpu', threads: 1 });
});
after(() => model.close());

async function generate(numFrames: number, windows: 'stream' | 'joint'): Promise<Tensor[]> {
  const pieces: Tensor[] = [];
  const clip = await textToVideo.run(
    model,
    { ...asked, numFrames, windows },
    { onLatents: (latents) => void pieces.push(latents) },
  );
  let frames = 0;
  for await (const _ of clip.frames) frames++;
  assert.equal(frames, numFrames);
  return pieces;
}

test('a clip of one window is the same in both ways', async () => {
  assert.deepEqual(await generate(window, 'stream'), await generate(window, 'joint'));
});

test('windows that are streamed begin with a clip of their own, and go on from its last frames', async () => {
  const [whole] = await generate(window, 'stream');
  const pieces = await generate(2 * window - overlap, 'stream');
  assert.deepEqual(
    pieces.map(({ shape }) => shape[axis.time]),
    [window, window - overlap],
  );
  assert.deepEqual(pieces[0], whole);
  // A last window that is moved back keeps more of the one before, and has its own noise: what comes first does not change.
  const shorter = await generate(window + 2, 'stream');
  assert.deepEqual(shorter[0], whole);
  assert.equal(shorter[1]?.shape[axis.time], 2);
});
