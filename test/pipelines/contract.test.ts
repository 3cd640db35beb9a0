// What holds for every pipeline: same seed, same bytes; runs don't disturb each other; cancelling ends them; bad options are refused.
import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { pipelines } from '../../pipelines/index.js';
import type { Pipeline } from '../../src/diffusion/pipeline.js';
import type { Progress, RunContext, Stage } from '../../src/diffusion/progress.js';
import { saveClip } from '../../src/diffusion/save.js';
import { CancelledError, InvalidOptionError, OutputError } from '../../src/errors.js';
import type { Clip } from '../../src/media/clip.js';
import { createVideoWriter } from '../../src/media/write-frames.js';
import { loadModel } from '../../src/networks/load-model.js';
import type { Model } from '../../src/networks/model.js';
import { childProcesses, encode, solidFrame, testClip } from '../media/make-media.js';

const goldens = 'test/goldens';
let model: Model;
let folder: string;
/** Options of a small run, by pipeline; frames are 24x40. */
const small: Record<string, Record<string, unknown>> = {
  generate: { prompt: 'a cat', numFrames: 9, width: 24, height: 40, steps: 2, seed: 3 },
  restyle: { input: `${goldens}/short.mkv`, prompt: 'a fox', width: 24, height: 40, steps: 2, seed: 3 },
  morph: { keyframes: [`${goldens}/first.png`, 'a fox'], numFrames: 9, steps: 2, seed: 3, width: 24, height: 40 },
  animate: { input: `${goldens}/first.png`, prompt: 'a cat', numFrames: 9, steps: 2, seed: 3, width: 24, height: 40 },
  inpaint: {
    input: `${goldens}/short.mkv`,
    prompt: 'a cake',
    mask: '',
    steps: 2,
    seed: 3,
    width: 24,
    height: 40,
  },
  extend: { input: `${goldens}/short.mkv`, prompt: 'a cat', numFrames: 8, steps: 2, seed: 3, width: 24, height: 40 },
  reconstruct: { input: `${goldens}/short.mkv`, width: 24, height: 40 },
  decode: {},
};
/** Pipelines without a denoiser. */
const plain = ['reconstruct', 'decode'];

before(async () => {
  model = await loadModel('test/fixtures/tiny-bundle', { device: 'cpu' });
  folder = await mkdtemp(join(tmpdir(), 'reelspace-'));
  const path = join(folder, 'clip.safetensors');
  const generate = pipelines.find(({ name }) => name === 'generate') as Pipeline;
  await saveClip(await generate.run(model, small.generate as Record<string, unknown>), path);
  small.decode = { input: path };
  // Longer than the source: ffmpeg waits for a reader that has had enough.
  const mask = join(folder, 'mask.mkv');
  await testClip(mask, { size: '24x40', seconds: 60 });
  small.inpaint = { ...small.inpaint, mask };
});
after(async () => {
  await model.close();
  await rm(folder, { recursive: true });
});

async function bytesOf(clip: Clip): Promise<Buffer> {
  const frames: Uint8Array[] = [];
  for await (const frame of clip.frames) frames.push(frame.data);
  return Buffer.concat(frames);
}

const runSmall = (pipeline: Pipeline, more: Record<string, unknown> = {}, context?: RunContext) =>
  pipeline.run(model, { ...small[pipeline.name], ...more }, context);

for (const pipeline of pipelines) {
  describe(pipeline.name, () => {
    it('makes the same bytes from the same seed, also when two runs interleave', async () => {
      const alone = await bytesOf(await runSmall(pipeline));
      const [a, b] = await Promise.all([runSmall(pipeline).then(bytesOf), runSmall(pipeline).then(bytesOf)]);
      assert.ok(alone.length > 0);
      assert.ok(a.equals(alone) && b.equals(alone));
    });

    if (!plain.includes(pipeline.name)) {
      it('makes other bytes from another seed', async () => {
        const one = await bytesOf(await runSmall(pipeline));
        const other = await bytesOf(await runSmall(pipeline, { seed: 4 }));
        assert.equal(one.length, other.length);
        assert.ok(!one.equals(other));
      });
    }

    it('says its size, length and settings', async () => {
      const clip = await runSmall(pipeline);
      let frames = 0;
      for await (const frame of clip.frames) {
        assert.deepEqual([frame.width, frame.height, frame.data.length], [24, 40, 24 * 40 * 3]);
        frames++;
      }
      assert.deepEqual([clip.width, clip.height], [24, 40]);
      assert.equal(clip.numFrames, frames);
      assert.equal(clip.settings.model, 'test/fixtures/tiny-bundle');
      if (!plain.includes(pipeline.name)) assert.equal(clip.settings.seed, 3);
    });

    it('reports progress up to the end of what it denoises', async () => {
      const seen: Progress[] = [];
      await bytesOf(await runSmall(pipeline, {}, { onProgress: (progress) => seen.push(progress) }));
      const denoised = seen.filter(({ stage }) => stage === 'denoise');
      if (!plain.includes(pipeline.name)) {
        const last = denoised.at(-1);
        assert.ok(last !== undefined && last.done === last.total);
        const preview = last.preview?.();
        assert.ok(preview !== undefined && preview.data.length === preview.width * preview.height * 3);
      }
      assert.ok(seen.some(({ stage, done }) => stage === 'decode' && done > 0));
    });

    it('is saved once', async () => {
      const clip = await runSmall(pipeline);
      const path = join(await mkdtemp(join(folder, 'once-')), 'clip.mp4');
      // What fails before a frame is read uses nothing up.
      await assert.rejects(saveClip(clip, join(folder, 'none/clip.mp4')), OutputError);
      await assert.rejects(saveClip(clip, join(folder, 'clip.xyz')), InvalidOptionError);
      await saveClip(clip, path);
      await assert.rejects(saveClip(clip, path), /Expected a clip to be saved once, got one that was saved before/);
    });

    it('ends with CancelledError when aborted before a run and in each of its stages, and leaves nothing', async () => {
      const empty = await mkdtemp(join(folder, 'aborted-'));
      const save = async (context: RunContext) =>
        saveClip(await runSmall(pipeline, {}, context), join(empty, 'clip.mp4'), context);
      const abortedAt = async (stage: Stage) => {
        const controller = new AbortController();
        const onProgress = (progress: Progress) => {
          if (progress.stage === stage) controller.abort();
        };
        await assert.rejects(save({ signal: controller.signal, onProgress }), CancelledError, stage);
        assert.deepEqual(await childProcesses(), [], stage);
        assert.deepEqual(await readdir(empty), [], stage);
      };
      await assert.rejects(save({ signal: AbortSignal.abort() }), CancelledError);
      const seen = new Set<Stage>();
      await save({ onProgress: ({ stage }) => seen.add(stage) });
      await rm(join(empty, 'clip.mp4'));
      assert.ok(seen.has('decode') && seen.has('write') && seen.has('denoise') !== plain.includes(pipeline.name));
      for (const stage of seen) await abortedAt(stage);
      assert.ok((await bytesOf(await runSmall(pipeline))).length > 0, 'the model still works');
    });

    it('can be left after the first frame', async () => {
      const clip = await runSmall(pipeline);
      for await (const frame of clip.frames) {
        assert.equal(frame.width, 24);
        break;
      }
      assert.deepEqual(await childProcesses(), []);
    });

    it('hands over its latents instead of frames', async () => {
      const clip = await runSmall(pipeline);
      let frames = 0;
      for await (const latents of clip.latents) {
        assert.deepEqual(latents.shape.toSpliced(2, 1), [1, 16, 5, 3]);
        frames += latents.shape[2] as number;
      }
      assert.ok(frames > 0);
      assert.deepEqual(await childProcesses(), []);
    });

    it('saves latents that are decoded to the frames that it makes', async () => {
      const path = join(folder, `${pipeline.name}.safetensors`);
      const clip = await runSmall(pipeline);
      const { numFrames } = await saveClip(clip, path);
      assert.equal(numFrames, small[pipeline.name]?.numFrames ?? clip.numFrames);
      const decode = pipelines.find(({ name }) => name === 'decode') as Pipeline;
      const decoded = await bytesOf(await decode.run(model, { input: path }));
      assert.equal(decoded.length, numFrames * 24 * 40 * 3);
      const made = await bytesOf(await runSmall(pipeline));
      // What is pasted into the source is only there with it.
      if (pipeline.name !== 'inpaint') assert.ok(decoded.equals(made.subarray(made.length - decoded.length)));
    });

    it('refuses unknown options', async () => {
      await assert.rejects(runSmall(pipeline, { colour: 'red' }), InvalidOptionError);
    });
  });
}

describe('options that no model takes', () => {
  const generate = pipelines.find(({ name }) => name === 'generate') as Pipeline;
  const cases: [Record<string, unknown>, RegExp][] = [
    [{ steps: 0 }, /steps/],
    [{ steps: Number.NaN }, /steps/],
    [{ steps: 2.5 }, /steps/],
    [{ guidanceScale: Number.POSITIVE_INFINITY }, /guidanceScale/],
    [{ seed: -1 }, /seed/],
    [{ width: 20_000 }, /width/],
    [{ width: 30 }, /Expected width to be a multiple of 8, got 30\. The nearest are 24 and 32\./],
    [{ height: 4 }, /The nearest are 8 and 16/],
    [{ numFrames: 10 }, /Expected frames to be one more than a multiple of 4, got 10\. The nearest are 9 and 13\./],
    [{ frameRate: 0 }, /frameRate/],
    [{ scheduler: 'magic' }, /scheduler/],
    [{ prompt: 'x'.repeat(100_001) }, /prompt/],
  ];
  for (const [options, message] of cases) {
    it(JSON.stringify(options).slice(0, 60), async () => {
      await assert.rejects(runSmall(generate, options), (error: Error) => {
        assert.ok(error instanceof InvalidOptionError, String(error));
        assert.match(error.message, message);
        return true;
      });
    });
  }
});

describe('sources that can not be used', () => {
  for (const name of ['restyle', 'inpaint', 'extend', 'reconstruct', 'animate']) {
    it(`${name} says that the file is missing`, async () => {
      const pipeline = pipelines.find((candidate) => candidate.name === name) as Pipeline;
      await assert.rejects(runSmall(pipeline, { input: join(folder, 'nothing.mp4') }), /nothing\.mp4/);
    });
  }
});

it('a folder of frames is a source like the clip that they make', async () => {
  const shades = Array.from({ length: 12 }, (_, frame) => solidFrame(24, 40, [20 * frame, 90, 250 - 20 * frame]));
  const clip = await encode(shades, 8, join(folder, 'shades.mkv'), '-c:v', 'ffv1', '-pix_fmt', 'bgr0');
  const frames = join(folder, 'frames/');
  const writer = await createVideoWriter(frames, { width: 24, height: 40, frameRate: 8 });
  for (const frame of shades) await writer.write(frame);
  await writer.finish();
  for (const name of ['restyle', 'inpaint', 'extend', 'reconstruct']) {
    const pipeline = pipelines.find((candidate) => candidate.name === name) as Pipeline;
    const made = async (input: string) =>
      bytesOf(
        await runSmall(pipeline, {
          input,
          frameRate: 8,
          ...(name === 'extend' ? {} : { startSeconds: 0.5, maxFrames: 5 }),
        }),
      );
    assert.ok((await made(frames)).equals(await made(clip)), name);
  }
  const reconstruct = pipelines.find(({ name }) => name === 'reconstruct') as Pipeline;
  const whole = await runSmall(reconstruct, { input: frames, frameRate: undefined });
  assert.equal(whole.frameRate, model.manifest.defaults.frameRate);
  const late = await runSmall(reconstruct, { input: frames, startSeconds: 2 });
  await assert.rejects(bytesOf(late), /Expected startSeconds to be before the end of .*frames/);
});

it('frames that the mean rate of a source leaves out are told of', async () => {
  const options = ['-vf', "select='if(lt(t,1),1,not(mod(n,5)))'", '-vsync', 'vfr'];
  const input = await testClip(join(folder, 'varying.mp4'), { rate: 15, seconds: 6, options });
  for (const name of ['restyle', 'inpaint', 'extend', 'reconstruct']) {
    const pipeline = pipelines.find((candidate) => candidate.name === name) as Pipeline;
    const told = await runSmall(pipeline, { input, frameRate: undefined });
    assert.match(
      told.warnings.join('\n'),
      /has up to 15 frames a second, and the clip the mean, .* keeps all of them/,
      name,
    );
    const asked = await runSmall(pipeline, { input, frameRate: 15 });
    assert.doesNotMatch(asked.warnings.join('\n'), /frames a second/, name);
  }
});

describe('mask clips', () => {
  it('are read from where the source is', async () => {
    const input = await testClip(join(folder, 'source.mkv'), { size: '24x40', rate: 8 });
    const shades = Array.from({ length: 16 }, (_, frame) =>
      solidFrame(24, 40, frame < 8 ? [0, 0, 0] : [255, 255, 255]),
    );
    const mask = await encode(shades, 8, join(folder, 'shades.mkv'), '-c:v', 'ffv1', '-pix_fmt', 'bgr0');
    const inpaint = pipelines.find(({ name }) => name === 'inpaint') as Pipeline;
    const made = async (more: Record<string, unknown>) =>
      bytesOf(await runSmall(inpaint, { input, maxFrames: 5, ...more }));
    const anew = await made({ startSeconds: 1, mask: '0,0,24,40' });
    assert.ok((await made({ startSeconds: 1, mask })).equals(anew));
    assert.ok(!(await made({ startSeconds: 0, mask })).equals(anew));
  });
});
