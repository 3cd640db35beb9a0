import assert from 'node:assert/strict';
import test from 'node:test';
import { CancelledError, InvalidOptionError, NetworkError } from '../../src/errors.js';
import { laneOf } from '../../src/networks/lane.js';
import { loadModel } from '../../src/networks/load-model.js';
import { axis, createTensor, slice, type Tensor } from '../../src/tensor/tensor.js';
import {
  assertClose,
  collect,
  golden,
  inPieces,
  join,
  noiseClip,
  tinyBundlePath,
  withTinyModel,
} from './tiny-model.js';

const tolerance = 1e-4;

test('a clip encoded and decoded in any pieces equals the whole clip in PyTorch', () =>
  withTinyModel(async (model) => {
    const clip = await golden('clip');
    const latents = await golden('clip.latents');
    const decoded = await golden('clip.decoded');
    const whole = await join(model.encode(inPieces(clip, [25])));
    const wholeDecoded = await join(model.decode(inPieces(latents, [7])));
    assertClose(whole, latents, tolerance);
    assertClose(wholeDecoded, decoded, tolerance);
    // How a clip is cut up by those who hand it over leaves no trace, not in the last bit.
    for (const lengths of [[1], [4], [3, 7, 1], [1, 0, 5, 2]]) {
      assert.deepEqual(await join(model.encode(inPieces(clip, lengths))), whole);
    }
    for (const lengths of [[1], [3, 1], [1, 0, 2]]) {
      assert.deepEqual(await join(model.decode(inPieces(latents, lengths))), wholeDecoded);
    }
  }));

test('a still is a clip of one frame', () =>
  withTinyModel(async (model) => {
    const clip = await golden('clip');
    const still = slice(clip, axis.time, 0, 1);
    const latents = await join(model.encode(inPieces(still, [1])));
    assertClose(latents, slice(await golden('clip.latents'), axis.time, 0, 1), tolerance);
    const pixels = await join(model.decode(inPieces(latents, [1])));
    assertClose(pixels, slice(await golden('clip.decoded'), axis.time, 0, 1), tolerance);
  }));

test('two clips on their way at the same time do not disturb each other', () =>
  withTinyModel(async (model) => {
    const clips = [noiseClip([1, 3, 37, 16, 40]), await golden('clip')];
    const alone: Tensor[] = [];
    for (const clip of clips) alone.push(await join(model.encode(inPieces(clip, [5]))));
    const together = await Promise.all(clips.map((clip) => join(model.encode(inPieces(clip, [5])))));
    assert.deepEqual(together, alone);
    const decoded = await Promise.all(together.map((latents) => join(model.decode(inPieces(latents, [1])))));
    for (const [index, latents] of together.entries()) {
      assert.deepEqual(decoded[index], await join(model.decode(inPieces(latents, [4]))));
    }
  }));

test('a clip that the model cannot take is refused with what would do', () =>
  withTinyModel(async (model) => {
    const refused = async (pieces: Tensor[], what: 'encode' | 'decode', message: RegExp) => {
      await assert.rejects(collect(model[what](listed(pieces))), (error) => {
        assert.ok(error instanceof InvalidOptionError, String(error));
        assert.match(error.message, message);
        return true;
      });
    };
    const zeros = (...shape: number[]) => createTensor(shape);
    await refused([], 'encode', /at least one frame/);
    await refused([zeros(1, 3, 0, 16, 16)], 'encode', /at least one frame/);
    await refused([], 'decode', /at least one frame/);
    await refused([zeros(1, 3, 24, 16, 16)], 'encode', /multiple of 4, got 24\. Use 21 or 25 frames/);
    await refused([zeros(1, 3, 19, 16, 16), zeros(1, 3, 1, 16, 16)], 'encode', /got 20\. Use 17 or 21 frames/);
    await refused([zeros(1, 3, 1, 16, 20)], 'encode', /width of pixels to be a multiple of 8, got 20\. Use 16 or 24/);
    await refused([zeros(1, 3, 1, 5, 16)], 'encode', /height of pixels to be a multiple of 8, got 5\. Use 8/);
    await refused([zeros(1, 3, 1, 0, 16)], 'encode', /height of pixels to be a multiple of 8, got 0/);
    await refused([zeros(1, 3, 1, 16, 16), zeros(1, 3, 1, 16, 24)], 'encode', /16x16 in the whole clip, got "24x16"/);
    await refused([zeros(1, 4, 1, 16, 16)], 'encode', /\[1, 3, frames, height, width\]/);
    await refused([zeros(2, 3, 1, 16, 16)], 'encode', /\[1, 3, frames, height, width\]/);
    await refused([zeros(3, 1, 16, 16)], 'encode', /\[1, 3, frames, height, width\]/);
    await refused([{ shape: [1, 3, 1, 16, 16], data: new Float32Array(5) }], 'encode', /as many numbers/);
    await refused([zeros(1, 15, 1, 2, 2)], 'decode', /shape of latents to be \[1, 16/);
    await refused([zeros(1, 16, 1, 2, 2), zeros(1, 16, 1, 2, 3)], 'decode', /2x2 in the whole clip/);
  }));

/** Yields values one by one and keeps count of what is asked for and whether it was ended early. */
class Watched implements AsyncIterable<Tensor> {
  asked = 0;
  isEnded = false;
  readonly #values: readonly Tensor[];

  constructor(values: readonly Tensor[]) {
    this.#values = values;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Tensor> {
    try {
      for (const value of this.#values) {
        this.asked++;
        yield value;
      }
    } finally {
      this.isEnded = true;
    }
  }
}

/** Chunks of the largest size that goes through the tiny VAE at once. */
const chunkLatents = 4;
const latentChunks = Array.from({ length: 5 }, () => noiseClip([1, 16, chunkLatents, 2, 3]));

test('nothing is decoded before it is asked for, and then one chunk ahead at most', () =>
  withTinyModel(async (model) => {
    const latents = new Watched(latentChunks);
    const pixels = model.decode(latents);
    assert.equal(latents.asked, 0);
    await pixels.next();
    assert.ok(latents.asked <= 2, `${latents.asked} chunks were asked for`);
    await pixels.next();
    // The third chunk was begun when the second was handed over.
    assert.equal(latents.asked, 3);
    await pixels.return(undefined);
    assert.equal(latents.asked, 3);
    assert.ok(latents.isEnded);
  }));

test('a consumer that stops early leaves nothing behind', () =>
  withTinyModel(async (model) => {
    const pixelChunks = Array.from({ length: 5 }, () => noiseClip([1, 3, 16, 16, 24]));
    for (const [what, values] of [
      ['encode', pixelChunks],
      ['decode', latentChunks],
    ] as const) {
      const source = new Watched(values);
      for await (const chunk of model[what](source)) {
        assert.equal(chunk.shape.length, 5);
        break;
      }
      assert.ok(source.isEnded, what);
      assert.ok(source.asked < values.length, what);
    }
    const clip = await golden('clip');
    assertClose(await join(model.encode(inPieces(clip, [25]))), await golden('clip.latents'), tolerance);
  }));

test('a consumer that stops does not wait for the turn of a chunk that nobody wants any more', () =>
  withTinyModel(async (model) => {
    let open = () => {};
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    let held: Promise<void> | undefined;
    async function* latents(): AsyncGenerator<Tensor> {
      for (const chunk of latentChunks) {
        yield chunk;
        // From the second chunk on, somebody else has the device.
        held ??= laneOf('cpu').run(() => gate);
      }
    }
    for await (const chunk of model.decode(latents())) {
      assert.equal(chunk.shape.length, 5);
      break;
    }
    open();
    await held;
  }));

test('a signal ends a clip at any moment', () =>
  withTinyModel(async (model) => {
    for (const what of ['encode', 'decode'] as const) {
      const pieces = what === 'encode' ? [1, 2, 3].map(() => noiseClip([1, 3, 16, 16, 24])) : latentChunks;
      const before = new Watched(pieces);
      const aborted = AbortSignal.abort(new Error('enough'));
      await assert.rejects(collect(model[what](before, { signal: aborted })), CancelledError);
      const during = new Watched(pieces);
      const controller = new AbortController();
      await assert.rejects(async () => {
        for await (const chunk of model[what](during, { signal: controller.signal })) {
          assert.equal(chunk.shape.length, 5);
          controller.abort(new Error('enough'));
        }
      }, CancelledError);
      assert.ok(during.isEnded, what);
    }
  }));

test('an error of the source comes through as it is', () =>
  withTinyModel(async (model) => {
    const broken = new Error('the file ended early');
    async function* source(): AsyncGenerator<Tensor> {
      yield noiseClip([1, 3, 33, 16, 24]);
      throw broken;
    }
    await assert.rejects(collect(model.encode(source())), broken);
    async function* latents(): AsyncGenerator<Tensor> {
      yield* latentChunks;
      throw broken;
    }
    let frames = 0;
    await assert.rejects(async () => {
      for await (const chunk of model.decode(latents())) frames += chunk.shape[axis.time] ?? 0;
    }, broken);
    // What was decoded before is not lost.
    assert.equal(frames, 4 * chunkLatents * latentChunks.length - 3);
  }));

test('closing the model in mid-clip ends the clip with an error', async () => {
  const model = await loadModel(tinyBundlePath, { device: 'cpu' });
  const pixels = new Watched([1, 2, 3].map(() => noiseClip([1, 3, 16, 16, 24])));
  const latents = new Watched(latentChunks);
  const clips = [model.encode(pixels), model.decode(latents)];
  for (const clip of clips) assert.equal((await clip.next()).done, false);
  await model.close();
  for (const clip of clips) await assert.rejects(collect(clip), NetworkError);
  assert.ok(pixels.isEnded && latents.isEnded);
});

async function* listed(values: readonly Tensor[]): AsyncGenerator<Tensor> {
  yield* values;
}
