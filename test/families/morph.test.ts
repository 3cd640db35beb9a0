// A morph between pictures by models of all families: it begins and ends with the pictures, and changes in between.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { morph } from '../../pipelines/morph.js';
import { encodeStill, readStill } from '../../src/diffusion/stills.js';
import { loadModel } from '../../src/networks/load-model.js';
import { distance, norm } from '../../src/tensor/math.js';
import { axis, concat, slice, type Tensor } from '../../src/tensor/tensor.js';
import { assertClose } from '../networks/tiny-model.js';
import { familyFixtures } from './fixtures.js';

const size = { width: 64, height: 64 };
const keyframes = ['test/goldens/first.png', 'test/goldens/last.png'];

for (const name of ['animatediff', 'cogvideox', 'hunyuan-video', 'ltx', 'sd', 'sdxl', 'wan']) {
  test(name, async () => {
    const model = await loadModel(`${familyFixtures}tiny-${name}`, { device: 'cpu' });
    try {
      const clip = await morph.run(model, { keyframes, numFrames: 17, steps: 3, seed: 1, ...size });
      assert.ok(clip.latents);
      const pieces: Tensor[] = [];
      for await (const piece of clip.latents) pieces.push(piece);
      const made = concat(pieces, axis.time);
      const count = made.shape[axis.time] as number;
      const frame = (index: number) => slice(made, axis.time, index, index + 1);
      for (const [index, file] of keyframes.entries()) {
        const time = index * (count - 1);
        const still = await encodeStill(model, await readStill(file, size, {}), count, {});
        assertClose(frame(time), slice(still, axis.time, time, time + 1), 1e-5);
      }
      const [way, half] = [distance(frame(0), frame(count - 1)), Math.floor(count / 2)];
      assert.ok(way > 0.1 * norm(frame(0)));
      for (const end of [0, count - 1]) assert.ok(distance(frame(end), frame(half)) > 0.2 * way);
    } finally {
      await model.close();
    }
  });
}

test('between prompts clips meet, and models of single frames make a picture of every blend', async () => {
  for (const [name, refine] of [
    ['wan', 0.4],
    ['sd', 1],
  ] as const) {
    const model = await loadModel(`${familyFixtures}tiny-${name}`, { device: 'cpu' });
    try {
      const clip = await morph.run(model, { keyframes: ['a red cat', 'the dog'], numFrames: 9, ...size });
      assert.equal(clip.settings.refine, refine);
    } finally {
      await model.close();
    }
  }
});
