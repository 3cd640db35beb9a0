// Which networks are in memory at a time, and that what they make does not depend on it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { textToVideo } from '../../pipelines/text-to-video.js';
import { readBundle } from '../../src/networks/bundle.js';
import type { GraphName } from '../../src/networks/bundle-layout.js';
import { loadModel } from '../../src/networks/load-model.js';
import { type MemoryUse, memoryUses } from '../../src/networks/model.js';
import { NetworkPool, type Opener } from '../../src/networks/network-pool.js';
import { openGraph } from '../../src/networks/open-graph.js';
import type { NetworkSession } from '../../src/networks/session.js';
import { tinyBundlePath } from './tiny-model.js';

test('every use of memory makes the same clip', async () => {
  const clips: Buffer[] = [];
  for (const memory of memoryUses) {
    const model = await loadModel(tinyBundlePath, { device: 'cpu', threads: 1, memory });
    const options = { prompt: 'a cat', width: 32, height: 32, numFrames: 25, steps: 2, seed: 1 };
    const clip = await textToVideo.run(model, options);
    const frames: Uint8Array[] = [];
    for await (const frame of clip.frames) frames.push(frame.data);
    clips.push(Buffer.concat(frames));
    await model.close();
  }
  assert.equal(clips.length, 3);
  for (const clip of clips) assert.deepEqual(clip, clips[0]);
});

/** Returns the graphs that are open after the text encoder, a stream of the VAE's decoder and the denoiser were used in turn. */
async function openAfterARun(memory: MemoryUse): Promise<{ during: GraphName[]; after: GraphName[]; opened: number }> {
  const bundle = await readBundle(tinyBundlePath);
  const sessions = new Map<GraphName, NetworkSession>();
  let opened = 0;
  const pool = new NetworkPool(async (graph) => {
    const session = await openGraph(bundle, graph, { device: 'cpu', threads: 1 });
    sessions.set(graph, session);
    opened++;
    return session;
  }, memory);
  const stillOpen = async () => {
    const open: GraphName[] = [];
    for (const [graph, session] of sessions) {
      const isOpen = await session.openStream([]).then(
        () => true,
        // One with states wants their shapes, unless it was given up.
        (error: Error) => /Expected states/.test(error.message),
      );
      if (isOpen) open.push(graph);
    }
    return open.sort();
  };
  await pool.use('textEncoder', async () => {});
  let during: GraphName[] = [];
  for await (const _ of pool.stream('vaeDecoder', oneWord)) {
    await pool.use('denoiser', async () => {});
    during = await stillOpen();
  }
  await pool.use('denoiser', async () => {});
  const after = await stillOpen();
  await pool.release();
  assert.deepEqual(await stillOpen(), []);
  return { during, after, opened };
}

async function* oneWord({ open }: Opener): AsyncGenerator<string> {
  await open();
  yield 'opened';
}

test('high keeps all networks, balanced all but encoders, low those in use', async () => {
  assert.deepEqual(await openAfterARun('high'), {
    during: ['denoiser', 'textEncoder', 'vaeDecoder'],
    after: ['denoiser', 'textEncoder', 'vaeDecoder'],
    opened: 3,
  });
  assert.deepEqual(await openAfterARun('balanced'), {
    during: ['denoiser', 'vaeDecoder'],
    after: ['denoiser', 'vaeDecoder'],
    opened: 3,
  });
  assert.deepEqual(await openAfterARun('low'), { during: ['denoiser', 'vaeDecoder'], after: ['denoiser'], opened: 3 });
});

test('a network is opened ahead of its first call, but for low', async () => {
  const bundle = await readBundle(tinyBundlePath);
  for (const memory of memoryUses) {
    const opened: GraphName[] = [];
    const pool = new NetworkPool((graph) => {
      opened.push(graph);
      return openGraph(bundle, graph, { device: 'cpu', threads: 1 });
    }, memory);
    let before: GraphName[] = [];
    const words = pool.stream('vaeDecoder', async function* ({ open, openAhead }) {
      openAhead();
      await pool.use('denoiser', async () => {});
      before = [...opened].sort();
      await open();
      yield 'opened';
    });
    for await (const _ of words);
    assert.deepEqual(before, memory === 'low' ? ['denoiser'] : ['denoiser', 'vaeDecoder'], memory);
    assert.equal(opened.length, 2, memory);
    await pool.release();
  }
});
