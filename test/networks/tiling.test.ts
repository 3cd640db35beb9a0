import assert from 'node:assert/strict';
import test from 'node:test';
import { InvalidOptionError } from '../../src/errors.js';
import { readBundle } from '../../src/networks/bundle.js';
import { addTile, cropTile, spansOf, weighSpans } from '../../src/networks/tiling.js';
import { fittingSide, tileLayout, workBytes } from '../../src/networks/vae-limits.js';
import { createTensor, filled } from '../../src/tensor/tensor.js';
import {
  assertClose,
  collect,
  golden,
  inPieces,
  join,
  largestDifference,
  noiseClip,
  tinyBundlePath,
  withTinyModel,
} from './tiny-model.js';

test('spans cover every length, share what they must, and keep to the grid', () => {
  const multiple = 8;
  for (let length = multiple; length <= 800; length += multiple) {
    for (const [side, overlap] of [
      [32, 8],
      [64, 16],
      [96, 24],
      [40, 32],
    ] as const) {
      const spans = spansOf(length, side, overlap, multiple);
      assert.equal(spans[0]?.start, 0);
      assert.equal((spans.at(-1)?.start ?? 0) + (spans.at(-1)?.length ?? 0), length);
      for (const [index, { start, length: spanLength }] of spans.entries()) {
        assert.equal(start % multiple, 0);
        assert.equal(spanLength, Math.min(side, length));
        const before = spans[index - 1];
        if (before !== undefined) {
          assert.ok(start > before.start);
          assert.ok(before.start + before.length - start >= overlap, `${length} in ${side}: ${start}`);
        }
      }
      // No more tiles than it takes.
      assert.ok(spans.length === 1 || (spans.length - 1) * (side - overlap) + overlap < length);
    }
  }
});

test('shares add up to one everywhere, also where more than two spans meet', () => {
  for (const [length, side, overlap] of [
    [200, 64, 16],
    [72, 40, 32],
    [64, 64, 16],
  ] as const) {
    const total = new Float64Array(length);
    for (const { start, weights } of weighSpans(spansOf(length, side, overlap, 8))) {
      weights.forEach((weight, at) => {
        assert.ok(weight > 0);
        total[start + at] = (total[start + at] ?? 0) + weight;
      });
    }
    assert.ok(total.every((sum) => Math.abs(sum - 1) < 1e-12));
  }
  // Where a tile ends inside the frame its share has faded to nothing, and half way into the overlap it is a half.
  const [left, right] = weighSpans(spansOf(112, 64, 16, 8));
  assert.ok((left?.weights.at(-1) ?? 1) < 0.01 && (right?.weights[0] ?? 1) < 0.01);
  assert.equal(left?.weights[47], 1);
  assert.ok(Math.abs((left?.weights[55] ?? 0) + (left?.weights[56] ?? 0) - 1) < 1e-12);
});

test('joining the tiles of a picture gives the picture back, and of a constant the constant', () => {
  for (const [height, width] of [
    [40, 104],
    [72, 72],
    [16, 200],
  ] as const) {
    for (const picture of [noiseClip([1, 2, 3, height, width]), filled([1, 2, 3, height, width], 0.7)]) {
      const joined = createTensor(picture.shape);
      for (const rows of weighSpans(spansOf(height, 32, 16, 8))) {
        for (const columns of weighSpans(spansOf(width, 32, 8, 8))) {
          addTile(joined, cropTile(picture, rows, columns), rows, columns);
        }
      }
      assertClose(joined, picture, 2e-7);
    }
  }
});

test('a tile as large as the frame changes nothing', () =>
  withTinyModel(async (model) => {
    const clip = await golden('clip');
    const latents = await golden('clip.latents');
    for (const tileSize of [32, 64, 'auto'] as const) {
      assert.deepEqual(
        await join(model.encode(inPieces(clip, [5]), { tileSize })),
        await join(model.encode(inPieces(clip, [25]))),
      );
      assert.deepEqual(
        await join(model.decode(inPieces(latents, [3]), { tileSize })),
        await join(model.decode(inPieces(latents, [7]))),
      );
    }
  }));

test('tiled clips equal whole ones but for faint seams, at odd ratios, over many chunks', () =>
  withTinyModel(async (model) => {
    for (const [height, width] of [
      [96, 48],
      [40, 136],
      [72, 120],
    ] as const) {
      // Smooth, as pictures are: a seam shows where a tile's edge hides its neighbours.
      const clip = noiseClip([1, 3, 21, height, width]);
      for (let at = 0; at < clip.data.length; at++) {
        const x = at % width;
        const y = Math.floor(at / width) % height;
        clip.data[at] = 0.6 * Math.sin(x / 9 + y / 14) + 0.1 * (clip.data[at] as number);
      }
      const latents = await join(model.encode(inPieces(clip, [21])));
      const tiledLatents = await join(model.encode(inPieces(clip, [4]), { tileSize: 64 }));
      const pixels = await join(model.decode(inPieces(latents, [6])));
      const tiledPixels = await join(model.decode(inPieces(latents, [1]), { tileSize: 64 }));
      for (const [tiled, whole, most] of [
        [tiledLatents, latents, 0.25],
        [tiledPixels, pixels, 0.025],
      ] as const) {
        const seam = largestDifference(tiled, whole);
        assert.ok(seam > 0, 'it was not tiled');
        assert.ok(seam < most, `${height}x${width}: a seam of ${seam}`);
      }
    }
  }));

test('a tile size that the model cannot take is refused', () =>
  withTinyModel(async (model) => {
    const clip = await golden('clip');
    for (const tileSize of [30, 0, -64, 24, Number.NaN, 64.5]) {
      await assert.rejects(collect(model.encode(inPieces(clip, [25]), { tileSize })), (error) => {
        assert.ok(error instanceof InvalidOptionError);
        assert.match(error.message, /tile size to be a multiple of 8 and at least 32, or 'auto'/);
        return true;
      });
    }
  }));

test('frames are tiled when memory is short, in tiles as large as it allows', async () => {
  const { manifest } = await readBundle(tinyBundlePath);
  const graph = manifest.graphs.vaeDecoder;
  const frame = { height: 1080, width: 1920 };
  const side = (budgetBytes: number) => fittingSide(manifest, graph, frame, budgetBytes);
  assert.equal(side(1e12), 1920);
  const sides = [64e9, 4e9, 3e9, 2e9, 1e9, 6e8, 1e6].map(side);
  assert.deepEqual(
    sides,
    sides.toSorted((a, b) => b - a),
  );
  assert.equal(sides.at(-1), 256);
  assert.ok(new Set(sides).size >= 4, sides.join());
  const told = { path: graph.path, whole: true, work: { numbersPerPixel: 5000 }, states: [] };
  const needed = (width: number, height: number) => 4 * 5000 * 5 * width * height;
  const sideOf = (budgetBytes: number) => fittingSide(manifest, told, frame, budgetBytes, 5);
  assert.deepEqual([needed(1920, 1080), needed(512, 512), needed(512, 512) - 1].map(sideOf), [1920, 512, 384]);
  assert.equal(tileLayout(manifest, graph, 64, 96, 'auto').side, 96);
});

test('attention over all places of a frame counts with the square of its size, and what is wide with the size', async () => {
  const { manifest } = await readBundle(tinyBundlePath);
  const graph = { ...manifest.graphs.vaeDecoder, states: [], work: { numbersPerPixel: 10, attentionDivisor: 8 } };
  const bytes = (side: number) => workBytes(manifest, graph, side, side);
  // 64x64 places: two tables of 4096x4096 numbers.
  assert.equal(bytes(512), 4 * 2 * 4096 ** 2);
  assert.equal(bytes(1024), 16 * bytes(512));
  assert.equal(bytes(64), 4 * 10 * 64 ** 2);
  const withoutAttention = { ...graph, work: { numbersPerPixel: 10 } };
  assert.equal(workBytes(manifest, withoutAttention, 1024, 1024), 4 * 10 * 1024 ** 2);
  const side = (budgetBytes: number) => fittingSide(manifest, graph, { height: 1024, width: 1024 }, budgetBytes);
  assert.equal(side(bytes(1024)), 1024);
  assert.equal(side(bytes(1024) - 1), 768);
  assert.equal(side(bytes(512)), 512);
});
