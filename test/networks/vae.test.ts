import assert from 'node:assert/strict';
import test from 'node:test';
import { assertClose, golden, inPieces, join, withTinyModel } from './tiny-model.js';

const tolerance = 1e-4;

test('a clip encoded and decoded in any pieces equals the whole clip in PyTorch', () =>
  withTinyModel(async (model) => {
    const clip = await golden('clip');
    const latents = await golden('clip.latents');
    const decoded = await golden('clip.decoded');
    for (const lengths of [[13], [1], [4], [3, 7, 1], [1, 0, 5, 2]]) {
      assertClose(await join(model.encode(inPieces(clip, lengths))), latents, tolerance);
    }
    for (const lengths of [[4], [1], [3, 1], [1, 0, 2]]) {
      assertClose(await join(model.decode(inPieces(latents, lengths))), decoded, tolerance);
    }
  }));
