// A picture that starts to move; with a last picture, a clip that leads from the one to the other.
import { z } from 'zod';
import { requireTask } from '../src/diffusion/conditions.js';
import { latentFrames, latentShape, leadFrames, sourceSize } from '../src/diffusion/geometry.js';
import { embedForPrompts, startFromFrames } from '../src/diffusion/given-frames.js';
import {
  frameRateOptions,
  lengthOptions,
  prompt,
  samplingOptions,
  sizeOptions,
  vaeOptions,
} from '../src/diffusion/options.js';
import { decodeFrames } from '../src/diffusion/output.js';
import { definePipeline } from '../src/diffusion/pipeline.js';
import { prepareSampling } from '../src/diffusion/prepare.js';
import { sampleLatents } from '../src/diffusion/sample.js';
import { readStill } from '../src/diffusion/stills.js';
import { expected, InvalidOptionError } from '../src/errors.js';
import type { Frame } from '../src/media/frame.js';
import { probe } from '../src/media/probe.js';

export const imageToVideo = definePipeline({
  name: 'animate',
  summary: 'Make a picture move; with --last, lead from one picture to another',
  options: z.object({
    input: z.string().min(1).meta({ positional: 0, inputFile: true }).describe('the picture to start from'),
    prompt: prompt.default('').meta({ positional: 1 }),
    last: z.string().min(1).optional().meta({ inputFile: true }).describe('the picture to end at'),
    keyframes: z
      .record(z.string().regex(/^[1-9]\d{0,6}$/), z.string().min(1))
      .optional()
      .meta({ flag: 'picture-at', inputFile: true })
      .describe('the picture to come to at a frame; once for each frame'),
    pictureStrength: z
      .number()
      .gt(0)
      .max(1)
      .optional()
      .describe('how closely the pictures are kept, by models that can tell; 1 exactly (default: 1)'),
    ...lengthOptions,
    ...sizeOptions,
    ...frameRateOptions,
    ...samplingOptions,
    ...vaeOptions,
  }),
  async run(model, options, context) {
    const { manifest } = model;
    requireTask(manifest, options.last === undefined ? 'first-frame' : 'last-frame');
    const keyframes = Object.entries(options.keyframes ?? {});
    if (keyframes.length > 0) requireTask(manifest, 'keyframes');
    if (options.pictureStrength !== undefined && manifest.graphs.denoiser.knownFrames !== 'held') {
      throw new InvalidOptionError(
        `Expected no strength of pictures, as model "${manifest.name}" keeps them as they are, got ${options.pictureStrength}. Leave it out.`,
      );
    }
    const size = sourceSize(manifest, await probe(options.input, { signal: context.signal }), options);
    const numFrames = options.numFrames ?? manifest.defaults.numFrames;
    const frameRate = options.frameRate ?? manifest.defaults.frameRate;
    const skip = leadFrames(manifest);
    const latentCount = latentFrames(manifest, numFrames) + skip / manifest.latent.temporalCompression;
    const shape = latentShape(manifest, size, latentCount);
    const first = await readStill(options.input, size, context);
    const last = options.last === undefined ? undefined : await readStill(options.last, size, context);
    const between = new Map<number, Frame>();
    for (const [frame, path] of keyframes)
      between.set(checkedFrame(Number(frame), numFrames), await readStill(path, size, context));
    const strength = options.pictureStrength;
    const start = await startFromFrames(model, { first: [first], last, between, strength }, shape, context);
    const { sampling, settings, warnings } = await prepareSampling(
      model,
      { ...options, frameRate, imageEmbeds: await embedForPrompts(model, first, context) },
      [{ text: options.prompt }],
      context,
    );
    const latents = sampleLatents(sampling, shape, start, context);
    return {
      ...size,
      frameRate,
      numFrames,
      latents,
      frames: decodeFrames(model, latents, context, {
        tileSize: options.tileSize,
        noise: sampling.noise,
        skip,
        total: numFrames,
      }),
      leadFrames: skip,
      settings: {
        pipeline: 'animate',
        prompt: options.prompt,
        ...(strength === undefined ? {} : { pictureStrength: strength }),
        ...size,
        numFrames,
        frameRate,
        ...settings,
      },
      warnings,
    };
  },
});

/** Returns the number of a frame between a clip's first and last. Throws InvalidOptionError. */
function checkedFrame(frame: number, numFrames: number): number {
  if (frame < numFrames - 1) return frame;
  throw new InvalidOptionError(
    expected('frame of a picture', `below the last one, ${numFrames - 1}`, frame, 'Give the last one by --last.'),
  );
}
