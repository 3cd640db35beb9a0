// Models whose first latent frame has a graph of its own: how the manifest and the graphs are held against each other, and
// what a clip may and may not be.
import assert from 'node:assert/strict';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { BundleError, InvalidOptionError, NetworkError } from '../../src/errors.js';
import { readBundle } from '../../src/networks/bundle.js';
import { loadModel } from '../../src/networks/load-model.js';
import type { StreamingGraph } from '../../src/networks/manifest.js';
import type { Model } from '../../src/networks/model.js';
import { openGraph } from '../../src/networks/open-graph.js';
import type { Tensor } from '../../src/tensor/tensor.js';
import { collect, inPieces, join, noiseClip } from '../networks/tiny-model.js';
import { familyFixtures } from './fixtures.js';

const tiny = `${familyFixtures}tiny-wan/`;
let scratch: string;
let model: Model;
before(async () => {
  scratch = await mkdtemp(path.join(tmpdir(), 'reelspace-first-'));
  model = await loadModel(tiny, { device: 'cpu', threads: 1 });
});
after(async () => {
  await model.close();
  await rm(scratch, { recursive: true });
});

/** Returns a copy of the bundle whose decoder is described in another way. */
async function withDecoder(name: string, edit: (graph: StreamingGraph) => StreamingGraph): Promise<string> {
  const folder = path.join(scratch, name);
  await cp(tiny, folder, { recursive: true });
  const file = path.join(folder, 'reelspace.json');
  const manifest = JSON.parse(await readFile(file, 'utf8'));
  manifest.graphs.vaeDecoder = edit(manifest.graphs.vaeDecoder);
  await writeFile(file, JSON.stringify(manifest));
  return folder;
}

/** Returns the left half of a clip of 16 columns. */
function leftHalf({ data, shape }: Tensor): Tensor {
  return { shape: shape.with(4, 8), data: data.filter((_, at) => at % 16 < 8) };
}

const first = (firstPath: string) => (graph: StreamingGraph) => ({
  ...graph,
  first: { path: firstPath, latentFrames: 1 },
});

test('a first graph that is not listed, or that is elsewhere, is refused', async () => {
  const cases: [string, (graph: StreamingGraph) => StreamingGraph, RegExp][] = [
    ['unlisted', first('vae_decoder/start.onnx'), /at files: expected vae_decoder\/start\.onnx among them/],
    ['elsewhere', first('vae_encoder/first.onnx'), /at first\.path: expected another file in the folder of path/],
    ['same', first('vae_decoder/model.onnx'), /at first\.path: expected another file in the folder of path/],
    ['none', (graph) => ({ ...graph, latentFrames: 0 }), /at graphs\.vaeDecoder\.latentFrames/],
  ];
  for (const [name, edit, message] of cases) {
    await assert.rejects(readBundle(await withDecoder(name, edit)), (error) => {
      assert.ok(error instanceof BundleError);
      assert.match(error.message, message);
      return true;
    });
  }
});

test('a first graph that is not what the manifest says is named when it is opened', async () => {
  const swapped = ({ first: start, ...graph }: StreamingGraph) => ({
    ...graph,
    path: start?.path ?? '',
    first: { path: graph.path, latentFrames: 1 },
  });
  const alone = ({ first: _, ...graph }: StreamingGraph) => ({ ...graph, path: 'vae_decoder/first.onnx', states: [] });
  for (const [name, edit, message] of [
    ['swapped', swapped, /first\.onnx does not fit tiny-wan's manifest: it lacks the input state_in_0/],
    ['alone', alone, /first\.onnx does not fit tiny-wan's manifest: it has the unknown output state_out_0/],
  ] as const) {
    const bundle = await readBundle(await withDecoder(name, edit));
    await assert.rejects(openGraph(bundle, 'vaeDecoder', { device: 'cpu' }), (error) => {
      assert.ok(error instanceof BundleError);
      assert.match(error.message, message);
      return true;
    });
  }
});

test('a number of frames between two latent frames is refused with what would do', async () => {
  for (const [frames, message] of [
    [4, /one more than a multiple of 4, got 4\. Use 1 or 5 frames/],
    [8, /got 8\. Use 5 or 9 frames/],
  ] as const) {
    await assert.rejects(collect(model.encode(inPieces(noiseClip([1, 3, frames, 16, 32]), [3]))), (error) => {
      assert.ok(error instanceof InvalidOptionError);
      assert.match(error.message, message);
      return true;
    });
  }
});

test('clips on their way at the same time each start with the first graph', async () => {
  const clips = [noiseClip([1, 3, 9, 16, 32]), noiseClip([1, 3, 5, 32, 16])];
  const alone = [];
  for (const clip of clips) alone.push(await join(model.encode(inPieces(clip, [2]))));
  assert.deepEqual(await Promise.all(clips.map((clip) => join(model.encode(inPieces(clip, [2]))))), alone);
});

test('every tile starts with the first graph', async () => {
  const tiled = await join(model.decode(inPieces(noiseClip([1, 4, 3, 8, 16]), [2]), { tileSize: 64 }));
  assert.deepEqual(tiled.shape, [1, 3, 9, 64, 128]);
  // Three tiles share what they can: the left half of the first is its own.
  const left = await join(model.decode(inPieces(leftHalf(noiseClip([1, 4, 3, 8, 16])), [2])));
  for (const [at, value] of left.data.entries()) {
    const column = at % 64;
    if (column >= 32) continue;
    const difference = Math.abs(value - (tiled.data[Math.floor(at / 64) * 128 + column] ?? Number.NaN));
    assert.ok(difference < 1e-5, `${difference} in column ${column}`);
  }
});

test('a first call that fails leaves the stream where it was', async () => {
  const bundle = await readBundle(tiny);
  const session = await openGraph(bundle, 'vaeDecoder', { device: 'cpu', threads: 1 });
  try {
    const shapes = bundle.manifest.graphs.vaeDecoder.states.map(({ channels, frames, spatialDivisor }) => [
      1,
      channels,
      frames,
      16 / spatialDivisor,
      16 / spatialDivisor,
    ]);
    const latents = (height: number) => {
      const { data, shape } = noiseClip([1, 4, 1, height, 2]);
      return { latents: { type: 'float32', data, shape } } as const;
    };
    const spoiled = await session.openStream(shapes);
    // The answer's states don't fit where they are to be written.
    await assert.rejects(spoiled.run(latents(3)), NetworkError);
    const fresh = await session.openStream(shapes);
    for (const _ of [1, 2]) assert.deepEqual(await spoiled.run(latents(2)), await fresh.run(latents(2)));
  } finally {
    await session.release();
  }
});
