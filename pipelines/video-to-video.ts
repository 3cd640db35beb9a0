// A clip restyled by a prompt: its structure is followed, its sound is kept.
import { z } from 'zod';
import { requireTask } from '../src/diffusion/conditions.js';
import { prompt, samplingOptions, sourceOptions, vaeOptions } from '../src/diffusion/options.js';
import { decodeFrames } from '../src/diffusion/output.js';
import { definePipeline } from '../src/diffusion/pipeline.js';
import { prepareSampling } from '../src/diffusion/prepare.js';
import { sampleFromSource } from '../src/diffusion/sample.js';
import { planSource, Source } from '../src/diffusion/source.js';

export const videoToVideo = definePipeline({
  name: 'restyle',
  summary: 'Restyle a clip by a prompt; its structure and its sound stay',
  options: z.object({
    input: z.string().min(1).meta({ positional: 0, inputFile: true }).describe('the clip or image to restyle'),
    prompt: prompt.meta({ positional: 1 }),
    strength: z
      .number()
      .gt(0)
      .max(1)
      .optional()
      .describe('how much is made anew: near 0 the source, 1 only its structure (default: the model’s)'),
    ...sourceOptions,
    ...samplingOptions,
    ...vaeOptions,
  }),
  async run(model, options, context) {
    const { manifest } = model;
    const { size, frameRate, audio } = await planSource(manifest, options, context);
    const strength = options.strength ?? manifest.defaults.strength;
    const follows = manifest.tasks.includes('restyle');
    // Without following it, a source is started from; who is told of the whole clip would be told that there is none.
    const startsFrom = strength < 1 && manifest.graphs.denoiser.conditionFrom !== 'pixels';
    if (!follows) requireTask(manifest, startsFrom ? 'text' : 'restyle');
    const guidanceScale = options.guidanceScale ?? (follows ? manifest.defaults.sourceGuidanceScale : undefined);
    const sampled = { ...options, strength, guidanceScale, frameRate };
    const prepared = await prepareSampling(model, sampled, [{ text: options.prompt }], context);
    const source = new Source(options.input, { ...options, ...size, frameRate });
    const latents = sampleFromSource(prepared.sampling, source.pieces(model, context), follows, context);
    return {
      ...size,
      frameRate,
      get numFrames() {
        return source.numFrames;
      },
      latents,
      frames: decodeFrames(model, latents, context, {
        tileSize: options.tileSize,
        noise: prepared.sampling.noise,
        limit: () => source.numFrames,
      }),
      settings: {
        pipeline: 'restyle',
        prompt: options.prompt,
        strength,
        startSeconds: options.startSeconds,
        ...(options.maxFrames === undefined ? {} : { maxFrames: options.maxFrames }),
        ...size,
        frameRate,
        ...prepared.settings,
      },
      audio,
      warnings: prepared.warnings,
    };
  },
});
