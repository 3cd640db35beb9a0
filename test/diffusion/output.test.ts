import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { decodeFrames } from '../../src/diffusion/output.js';
import { loadModel } from '../../src/networks/load-model.js';
import type { Model } from '../../src/networks/model.js';
import { TorchRandom } from '../../src/tensor/random.js';

let model: Model;
before(async () => {
  model = await loadModel('test/fixtures/tiny-bundle', { device: 'cpu' });
});
after(() => model.close());

/** Frames of the same three latent frames, 9 pixel frames, each time. */
async function decoded(options: { skip?: number; limit?: () => number | undefined }): Promise<Uint8Array[]> {
  async function* latents() {
    yield new TorchRandom(1).normal([1, 16, 3, 2, 3]);
  }
  const frames: Uint8Array[] = [];
  for await (const { data } of decodeFrames(model, latents(), {}, options)) frames.push(data);
  return frames;
}

describe('decodeFrames', () => {
  it('leaves out what is skipped and what is beyond the limit, alone and together', async () => {
    const all = await decoded({});
    assert.equal(all.length, 9);
    for (const skip of [0, 1, 2, 5, 9]) {
      assert.deepEqual(await decoded({ skip }), all.slice(skip));
      for (const limit of [0, 1, 3, 4, 20]) {
        assert.deepEqual(
          await decoded({ skip, limit: () => limit }),
          all.slice(skip, skip + limit),
          `${skip}, ${limit}`,
        );
      }
    }
  });

  it('takes all while the limit is not known', async () => {
    assert.equal((await decoded({ limit: () => undefined })).length, 9);
  });
});
