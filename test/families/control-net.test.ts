// Models with control nets: when nets are run, how their pictures are lined up with the clip, and what is refused. What they
// make is held against diffusers beside this.
import assert from 'node:assert/strict';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { inpaint } from '../../pipelines/inpaint.js';
import { textToVideo } from '../../pipelines/text-to-video.js';
import { videoToVideo } from '../../pipelines/video-to-video.js';
import { BundleError, InvalidOptionError, MediaError } from '../../src/errors.js';
import type { Clip } from '../../src/media/clip.js';
import { readBundle } from '../../src/networks/bundle.js';
import { controlNetName, type GraphName } from '../../src/networks/bundle-layout.js';
import { loadModel } from '../../src/networks/load-model.js';
import { type MemoryUse, type Model, memoryUses } from '../../src/networks/model.js';
import { NetworkPool } from '../../src/networks/network-pool.js';
import { openGraph } from '../../src/networks/open-graph.js';
import { filled } from '../../src/tensor/tensor.js';
import { childProcesses, drawFrame, encode, solidFrame } from '../media/make-media.js';
import { familyFixtures } from './fixtures.js';

const pictures = `${familyFixtures}tiny-sd`;
const drawn = `${familyFixtures}tiny-sd-control-drawn.png`;
const clips = `${familyFixtures}tiny-animatediff`;
const small = { prompt: 'a cat', width: 16, height: 24, steps: 2, seed: 1, guidanceScale: 1 } as const;
const cpu = { device: 'cpu', threads: 1 } as const;

let scratch: string;
let model: Model;
let moving: Model;
before(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'reelspace-control-'));
  model = await loadModel(pictures, cpu);
  moving = await loadModel(clips, cpu);
});
after(async () => {
  await model.close();
  await moving.close();
  await rm(scratch, { recursive: true });
});

async function framesOf(run: Promise<Clip>): Promise<Buffer[]> {
  const frames: Buffer[] = [];
  for await (const { data } of (await run).frames) frames.push(Buffer.from(data));
  return frames;
}

async function refused(kind: typeof InvalidOptionError | typeof MediaError, message: RegExp, run: Promise<Clip>) {
  await assert.rejects(framesOf(run), (error) => {
    assert.ok(error instanceof kind, String(error));
    assert.match(error.message, message);
    return true;
  });
}

/** Returns the path of a clip of grey frames. */
async function greyClip(name: string, levels: readonly number[]): Promise<string> {
  const frames = levels.map((level) => solidFrame(16, 24, [level, level, level]));
  return encode(frames, 8, join(scratch, name), '-c:v', 'ffv1', '-pix_fmt', 'bgr0');
}

test('a net that does not count is not even opened', async () => {
  const folder = join(scratch, 'broken');
  await cp(pictures, folder, { recursive: true });
  const graph = join(folder, 'controlnet/depth/model.onnx');
  const bytes = await readFile(graph);
  bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
  await writeFile(graph, bytes);
  const broken = await loadModel(folder, cpu);
  const run = (control: string) => framesOf(textToVideo.run(broken, { ...small, control }));
  const plain = await framesOf(textToVideo.run(model, small));
  assert.deepEqual(await run(`depth=${drawn}:0`), plain);
  // Two steps of a half each: none lies within.
  assert.deepEqual(await run(`depth=${drawn}:1:0.6:0.9`), plain);
  await assert.rejects(run(`depth=${drawn}:1:0.5:1`), BundleError);
  await broken.close();
});

test('every use of memory makes the same clip, and nets stay with the denoiser', async () => {
  const control = [`edges=${drawn}`, `depth=${drawn}:0.5`];
  const made: Buffer[][] = [];
  for (const memory of memoryUses) {
    const spared = await loadModel(pictures, { ...cpu, memory });
    made.push(await framesOf(textToVideo.run(spared, { ...small, control })));
    await spared.close();
  }
  assert.deepEqual(made[1], made[0]);
  assert.deepEqual(made[2], made[0]);
  const bundle = await readBundle(pictures);
  const openedBy = async (memory: MemoryUse, graphs: readonly GraphName[]) => {
    let opened = 0;
    const pool = new NetworkPool((graph) => {
      opened++;
      return openGraph(bundle, graph, cpu);
    }, memory);
    for (const graph of graphs) await pool.use(graph, async () => {});
    await pool.release();
    return opened;
  };
  const step: readonly GraphName[] = [controlNetName('edges'), controlNetName('depth'), 'denoiser'];
  assert.equal(await openedBy('low', [...step, ...step, ...step]), 3);
  assert.equal(await openedBy('low', [...step, 'vaeDecoder', ...step]), 7);
});

test('each frame goes by the picture at its place, whatever the windows', async () => {
  const run = (control: string, windows: 'stream' | 'joint') =>
    framesOf(textToVideo.run(moving, { ...small, numFrames: 20, frameRate: 8, steps: 1, windows, control }));
  const same = await greyClip('same.mkv', new Array<number>(20).fill(200));
  const picture = await encode([solidFrame(16, 24, [200, 200, 200])], 8, join(scratch, 'same.png'));
  const changing = await greyClip('changing.mkv', [...new Array<number>(16).fill(200), 20, 20, 20, 20]);
  for (const windows of ['stream', 'joint'] as const) {
    const still = await run(`depth=${picture}`, windows);
    assert.equal(still.length, 20);
    assert.deepEqual(await run(`depth=${same}`, windows), still);
    const changed = await run(`depth=${changing}`, windows);
    // The first window, of 16 frames, has its own pictures alone; the second one begins at frame 4.
    const alone = windows === 'stream' ? 16 : 4;
    assert.deepEqual(changed.slice(0, alone), still.slice(0, alone));
    assert.notDeepEqual(changed[19], still[19]);
  }
});

test('a control clip of another size is scaled to cover the clip, and cropped', async () => {
  const run = (path: string) => framesOf(textToVideo.run(model, { ...small, control: `depth=${path}` }));
  const picture = (name: string, width: number, height: number, levelAt: (x: number, y: number) => number) =>
    encode(
      [
        drawFrame(width, height, (x, y) => {
          const level = levelAt(x, y);
          return [level, level, level];
        }),
      ],
      8,
      join(scratch, name),
      '-frames:v',
      '1',
    );
  const wanted = await run(await picture('exact.png', 16, 24, () => 200));
  const wide = await picture('wide.png', 80, 24, (x) => (x >= 16 && x < 64 ? 200 : 10));
  const tall = await picture('tall.png', 32, 240, (_, y) => (y >= 60 && y < 180 ? 200 : 10));
  const tiny = await picture('tiny.png', 1, 1, () => 200);
  for (const path of [wide, tall, tiny]) assert.deepEqual(await run(path), wanted, path);
  assert.notDeepEqual(await run(await picture('other.png', 80, 24, (x) => (x < 40 ? 200 : 10))), wanted);
});

test('what is skipped of a source is skipped of its control clip', async () => {
  const source = await greyClip('source.mkv', [10, 40, 70, 100, 130, 160]);
  const cut = await greyClip('cut.mkv', [70, 100, 130, 160]);
  const run = (path: string, options: object) =>
    framesOf(videoToVideo.run(moving, { ...small, input: path, control: `depth=${path}`, ...options }));
  assert.deepEqual(await run(source, { startSeconds: 0.25 }), await run(cut, {}));
});

test('a control clip is no longer read once the run is left', async () => {
  const levels = Array.from({ length: 40 }, (_, at) => at);
  const control = await greyClip('long.mkv', levels);
  const input = await greyClip('first.mkv', levels.slice(0, 20));
  const clip = await videoToVideo.run(moving, { ...small, input, control: `depth=${control}` });
  for await (const _ of clip.frames) break;
  assert.deepEqual(await childProcesses(), []);
});

test('controls that do not fit the model or the clip are refused', async () => {
  const generate = (options: object) => textToVideo.run(model, { ...small, ...options });
  await refused(InvalidOptionError, /NAME one of edges, depth/, generate({ control: `pose=${drawn}` }));
  await refused(
    InvalidOptionError,
    /given once each, got "depth twice"/,
    generate({ control: [`depth=${drawn}`, `depth=${drawn}:0.5`] }),
  );
  const three = await greyClip('three.mkv', [1, 2, 3]);
  await refused(
    MediaError,
    /three\.mkv to be at least 9/,
    generate({ control: `depth=${three}`, numFrames: 9, frameRate: 8 }),
  );
  const five = await greyClip('five.mkv', [1, 2, 3, 4, 5]);
  await refused(
    MediaError,
    /frames of control .*three\.mkv to be as many as the clip has, got 3/,
    videoToVideo.run(moving, { ...small, input: five, control: `depth=${three}` }),
  );
  await refused(
    MediaError,
    /to be as many as the clip has, got 3/,
    inpaint.run(model, { ...small, input: five, mask: '0,0,16,8', control: `edges=${three}` }),
  );
  const plain = await loadModel(`${familyFixtures}tiny-sd2`, cpu);
  await refused(
    InvalidOptionError,
    /able to do "control", but it does text, restyle, inpaint/,
    textToVideo.run(plain, { ...small, control: `edges=${drawn}` }),
  );
  await plain.close();
});

test('pictures that do not fit the latents are refused before a network runs', async () => {
  const prompt = await model.encodePrompts(['a cat']);
  const latents = filled([1, 4, 1, 3, 2], 0.5);
  const call =
    (kind: string, shape: readonly number[], scale = 1) =>
    () =>
      model.denoise({ latents, timestep: 500, prompt, controls: [{ kind, scale, pixels: filled(shape, 0) }] });
  for (const [made, message] of [
    [call('depth', [1, 3, 1, 24, 24]), /shape of pictures of depth to be \[B, 3, 1, 24, 16\]/],
    [call('depth', [1, 3, 2, 24, 16]), /shape of pictures of depth/],
    [call('depth', [1, 3, 1, 24, 16], Number.NaN), /scale of depth to be a number, got NaN/],
    [call('pose', [1, 3, 1, 24, 16]), /to have a control net for pose/],
  ] as const) {
    await assert.rejects(made, (error) => {
      assert.ok(error instanceof InvalidOptionError, String(error));
      assert.match(error.message, message);
      return true;
    });
  }
  // A batch of prompts shares the pictures.
  const two = await model.encodePrompts(['a cat', 'the dog']);
  const both = await model.denoise({
    latents,
    timestep: 500,
    prompt: two,
    controls: [{ kind: 'depth', scale: 0.5, pixels: filled([1, 3, 1, 24, 16], 0.25) }],
  });
  assert.deepEqual(both.shape, [2, 4, 1, 3, 2]);
});

test('a manifest whose control nets contradict the rest names the field', async () => {
  const manifest = JSON.parse(await readFile(join(pictures, 'reelspace.json'), 'utf8'));
  const [edges, depth] = manifest.graphs.controlNets;
  for (const [field, graphs, latent, message] of [
    [
      'twice',
      { controlNets: [edges, { ...depth, kind: 'edges' }] },
      {},
      /at graphs\.controlNets: expected each kind once/,
    ],
    ['none', { controlNets: undefined }, {}, /at graphs\.denoiser\.residuals: expected with controlNets alone/],
    ['frames', {}, { temporalCompression: 4 }, /at graphs\.controlNets: expected latent\.temporalCompression 1/],
    [
      'file',
      { controlNets: [{ ...edges, path: 'controlnet/none.onnx' }] },
      {},
      /at files: expected controlnet\/none\.onnx/,
    ],
  ] as const) {
    const folder = join(scratch, `manifest-${field}`);
    await cp(pictures, folder, { recursive: true });
    const changed = {
      ...manifest,
      graphs: { ...manifest.graphs, ...graphs },
      latent: { ...manifest.latent, ...latent },
    };
    await writeFile(join(folder, 'reelspace.json'), JSON.stringify(changed));
    await assert.rejects(readBundle(folder), (error) => {
      assert.ok(error instanceof BundleError, String(error));
      assert.match(error.message, message);
      return true;
    });
  }
});
