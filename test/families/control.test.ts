// Models that go by a clip and by pictures: what they refuse, and what they leave behind.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { inpaint } from '../../pipelines/inpaint.js';
import { textToVideo } from '../../pipelines/text-to-video.js';
import { InvalidOptionError, MediaError } from '../../src/errors.js';
import type { Clip } from '../../src/media/clip.js';
import { loadModel } from '../../src/networks/load-model.js';
import type { Model } from '../../src/networks/model.js';
import { childProcesses, temporaryFolder, testClip } from '../media/make-media.js';
import { collect } from '../networks/tiny-model.js';
import { familyFixtures } from './fixtures.js';

const clip = `${familyFixtures}tiny-wan-vace.mkv`;
const picture = `${familyFixtures}tiny-wan-vace-tall.png`;
const small = { width: 32, height: 48, steps: 2, seed: 1, guidanceScale: 1 } as const;
const prompt = 'a cat';

let model: Model;
let plain: Model;
before(async () => {
  model = await loadModel(`${familyFixtures}tiny-wan-vace`, { device: 'cpu', threads: 1 });
  plain = await loadModel(`${familyFixtures}tiny-wan`, { device: 'cpu', threads: 1 });
});
after(async () => {
  await model.close();
  await plain.close();
});

async function refused(kind: typeof InvalidOptionError | typeof MediaError, message: RegExp, run: Promise<Clip>) {
  await assert.rejects(
    run.then(async ({ frames }) => {
      for await (const _ of frames);
    }),
    (error) => {
      assert.ok(error instanceof kind, String(error));
      assert.match(error.message, message);
      return true;
    },
  );
}

test('controls and references that do not fit are refused', async () => {
  const run = (options: object) => textToVideo.run(model, { ...small, prompt, numFrames: 9, ...options });
  for (const control of ['depth', `edges=${clip}`, `=${clip}`]) {
    await refused(
      InvalidOptionError,
      /control to be NAME=clip, NAME=clip:SCALE or NAME=clip:SCALE:START:END, NAME one of depth, pose/,
      run({ control }),
    );
  }
  await refused(
    MediaError,
    /frames of control .* to be at least 13, got "9 at most"/,
    run({ control: `depth=${clip}`, numFrames: 13, frameRate: 16 }),
  );
  await refused(
    InvalidOptionError,
    /clip with pictures beside it to be at most 21, got 26\. Ask for fewer frames/,
    run({ reference: picture, numFrames: 101, width: 16, height: 16 }),
  );
  await refused(
    InvalidOptionError,
    /strength to be 1 for model "tiny-wan-vace", got 0\.5/,
    inpaint.run(model, { ...small, input: clip, prompt, mask: '0,0,16,16', strength: 0.5 }),
  );
  await refused(
    InvalidOptionError,
    /able to do "control"/,
    textToVideo.run(plain, { ...small, prompt, numFrames: 5, control: `depth=${clip}` }),
  );
  await refused(
    InvalidOptionError,
    /able to do "reference"/,
    textToVideo.run(plain, { ...small, prompt, numFrames: 5, reference: picture }),
  );
});

test('a mask clip that goes on behind the source is left, for frames and for latents', async () => {
  const mask = await testClip(join(await temporaryFolder(), 'mask.mkv'), { size: '32x48', seconds: 60 });
  const run = () => inpaint.run(model, { ...small, input: clip, prompt, mask, maxFrames: 5 });
  assert.equal((await collect((await run()).frames)).length, 5);
  assert.deepEqual(await childProcesses(), []);
  assert.deepEqual((await collect((await run()).latents))[0]?.shape, [1, 4, 2, 6, 4]);
  assert.deepEqual(await childProcesses(), []);
});
