// A morph: a path in latent space through pictures, clips and prompts.
import { extname, sep } from 'node:path';
import { z } from 'zod';
import { type Known, keepFrames } from '../src/diffusion/conditions.js';
import { clipSize, latentFrames, latentShape, pixelFrames, type Size, sourceSize } from '../src/diffusion/geometry.js';
import { frameRateOptions, lengthOptions, samplingOptions, sizeOptions, vaeOptions } from '../src/diffusion/options.js';
import { decodeFrames } from '../src/diffusion/output.js';
import { eases, keyframeTime, pathLatents, pathPlaces, pathPrompts } from '../src/diffusion/path.js';
import { definePipeline } from '../src/diffusion/pipeline.js';
import { prepareSampling } from '../src/diffusion/prepare.js';
import type { RunContext } from '../src/diffusion/progress.js';
import { sampleLatents } from '../src/diffusion/sample.js';
import type { Sampling, TimedPrompt } from '../src/diffusion/sampling.js';
import { Source } from '../src/diffusion/source.js';
import { gather } from '../src/diffusion/source-windows.js';
import { encodeStill, readStill } from '../src/diffusion/stills.js';
import { expected, InvalidOptionError, MediaError } from '../src/errors.js';
import type { Glide } from '../src/media/clip.js';
import type { MediaInfo } from '../src/media/media-info.js';
import { probe } from '../src/media/probe.js';
import type { Manifest } from '../src/networks/manifest.js';
import type { Model } from '../src/networks/model.js';
import { axis, concat, lengthOf, slice, type Tensor } from '../src/tensor/tensor.js';

/** Share of the schedule that a path is denoised for by default: in-betweens become pictures, and still resemble both ends. */
const defaultRefine = 0.4;

/** Frames between two keyframes by default, at least; a multiple of what any VAE takes at a time. */
const leastFramesPerSegment = 16;

export const morph = definePipeline({
  name: 'morph',
  summary: 'Morph along a path through pictures, clips and prompts',
  options: z.object({
    keyframes: z
      .array(z.string().min(1).max(100_000))
      .min(2)
      .max(64)
      .meta({ positional: 'rest', mayNameFiles: true })
      .describe('two or more; a file name is a picture or clip, anything else a prompt'),
    ease: z.enum(eases).default('linear').describe('speed between keyframes: even, or slow at both ends'),
    refine: z
      .number()
      .min(0)
      .max(1)
      .optional()
      .describe(
        'how much in-betweens are made anew; at 0 latents are only blended (default: 0.4; 1 between prompts for models of single frames)',
      ),
    spread: z
      .number()
      .min(0)
      .max(0.99)
      .default(0.9)
      .describe('how far a change spreads from its middle outwards; at 0 the whole picture fades at once'),
    ...lengthOptions,
    ...sizeOptions,
    ...frameRateOptions,
    ...samplingOptions,
    windows: samplingOptions.windows
      .removeDefault()
      .optional()
      .describe(
        'long clips: all windows blended at every step, or one after the other (default: joint; stream for models of single frames)',
      ),
    ...vaeOptions,
  }),
  async run(model, options, context) {
    const { manifest } = model;
    const files = options.keyframes.map((keyframe) => (isFileName(keyframe) ? keyframe : undefined));
    const infos: (MediaInfo | undefined)[] = [];
    for (const file of files) infos.push(file === undefined ? undefined : await probe(file, context));
    const size = pathSize(manifest, options, infos);
    const numFrames = options.numFrames ?? defaultLength(manifest, options.keyframes.length);
    const frameRate = options.frameRate ?? manifest.defaults.frameRate;
    const shape = latentShape(manifest, size, latentFrames(manifest, numFrames));
    const frames = shape[axis.time] as number;
    if (frames < options.keyframes.length) {
      const least = pixelFrames(manifest, options.keyframes.length);
      throw new InvalidOptionError(
        expected('frames', `at least ${least} for ${options.keyframes.length} keyframes`, numFrames),
      );
    }
    const isByFrame = manifest.window.latentFrames === 1;
    const windows = options.windows ?? (isByFrame ? 'stream' : 'joint');
    const isPromptsAlone = files.every((file) => file === undefined);
    // One step at least: a path is denoised for some of its schedule unless it was asked not to be.
    const leastRefine = 1 / (options.steps ?? manifest.defaults.steps);
    // A model of single frames makes a picture of every prompt in between; one of clips makes a fade of them.
    const refine = options.refine ?? (isPromptsAlone && isByFrame ? 1 : Math.max(defaultRefine, leastRefine));
    const texts = options.keyframes.map((keyframe, index) => ({ text: files[index] === undefined ? keyframe : '' }));
    const prepared = await prepareSampling(model, { ...options, windows, strength: refine, frameRate }, texts, context);
    const glides = betweenStills(infos, frames);
    const places = pathPlaces(frames, options.keyframes.length, options.ease);

    async function* makeLatents(): AsyncGenerator<Tensor> {
      const sampling = { ...prepared.sampling, isSteady: true };
      const prompts = pathPrompts(
        sampling.prompts.map(({ prompt }) => prompt),
        (frame) => places[frame] as number,
        isByFrame ? frames : undefined,
      );
      if (refine === 1 && isPromptsAlone) {
        yield* sampleLatents({ ...sampling, prompts }, shape, {}, context);
        return;
      }
      const keyframes: Tensor[] = [];
      for (const [index, file] of files.entries()) {
        const { prompt } = sampling.prompts[index] as TimedPrompt;
        keyframes.push(
          file === undefined
            ? await promptKeyframe({ ...sampling, prompts: [{ prompt }] }, shape, context)
            : infos[index]?.isStill === true
              ? await encodeStill(model, await readStill(file, size, context), frames, context)
              : await clipKeyframe(model, file, size, frameRate, frames, context),
        );
      }
      const path = pathLatents(keyframes, places, options.spread);
      if (refine === 0) {
        yield path.latents;
        return;
      }
      const known = knownKeyframes(path.latents, files);
      const start = { source: path.latents, renewal: path.between, known };
      yield* sampleLatents({ ...sampling, prompts }, shape, start, context);
    }

    const latents = makeLatents();
    return {
      ...size,
      frameRate,
      numFrames,
      latents,
      frames: decodeFrames(model, latents, context, {
        tileSize: options.tileSize,
        glides,
        noise: prepared.sampling.noise,
        total: numFrames,
      }),
      glides,
      settings: {
        pipeline: 'morph',
        keyframes: options.keyframes,
        ease: options.ease,
        refine,
        spread: options.spread,
        ...size,
        numFrames,
        frameRate,
        ...prepared.settings,
      },
      warnings: prepared.warnings,
    };
  },
});

/** Returns about two windows of frames, or some more for each keyframe. */
function defaultLength(manifest: Manifest, keyframes: number): number {
  return Math.max(
    pixelFrames(manifest, 2 * manifest.window.latentFrames - 1),
    leastFramesPerSegment * (keyframes - 1) + 1,
  );
}

/** A keyframe with a folder or a file ending is a file, and an error when it isn't there; anything else is a prompt. */
function isFileName(keyframe: string): boolean {
  return /^\.[a-z0-9]{2,5}$/i.test(extname(keyframe)) || (keyframe.includes(sep) && !keyframe.includes(' '));
}

function pathSize(manifest: Manifest, asked: Partial<Size>, infos: readonly (MediaInfo | undefined)[]): Size {
  const first = infos.find((info) => info !== undefined);
  return first === undefined ? clipSize(manifest, asked) : sourceSize(manifest, first, asked);
}

/** Returns the latents of a clip's first frames. */
async function clipKeyframe(
  model: Model,
  path: string,
  size: Size,
  frameRate: number,
  frames: number,
  context: RunContext,
): Promise<Tensor> {
  const source = new Source(path, { ...size, frameRate, maxFrames: pixelFrames(model.manifest, frames) });
  const whole = await gather(source.pieces(model, context));
  if (whole === undefined) throw new MediaError(`Expected at least one frame in ${path}, got none.`);
  return whole.latents;
}

/** Returns the latents of a clip of the model's own length made from a prompt; all prompts start from the same noise. */
async function promptKeyframe(sampling: Sampling, shape: readonly number[], context: RunContext): Promise<Tensor> {
  const frames = Math.min(shape[axis.time] as number, sampling.model.manifest.window.latentFrames);
  const pieces: Tensor[] = [];
  for await (const piece of sampleLatents(sampling, shape.with(axis.time, frames), {}, context)) pieces.push(piece);
  return concat(pieces, axis.time);
}

/** Returns where the path lies between two pictures: what is there is a row of stills. */
function betweenStills(infos: readonly (MediaInfo | undefined)[], frames: number): Glide[] {
  const time = (keyframe: number) => keyframeTime(keyframe, infos.length, frames);
  return infos.flatMap((info, index) =>
    info?.isStill === true && infos[index + 1]?.isStill === true ? [{ start: time(index), end: time(index + 1) }] : [],
  );
}

/** Keeps the path where a picture or clip stands. */
function knownKeyframes(path: Tensor, files: readonly (string | undefined)[]): Known | undefined {
  let known: Known | undefined;
  for (const [index, file] of files.entries()) {
    if (file === undefined) continue;
    const time = keyframeTime(index, files.length, lengthOf(path, axis.time));
    known = keepFrames(known, path.shape, slice(path, axis.time, time, time + 1), time);
  }
  return known;
}
