// A clip restyled by a prompt: its structure is followed, its sound is kept.
import { z } from 'zod';
import { requireTask } from '../src/diffusion/conditions.js';
import { closing, openControls, parseControls } from '../src/diffusion/control-clip.js';
import { controlOptions, promptOptions, samplingOptions, sourceOptions, vaeOptions } from '../src/diffusion/options.js';
import { decodeFrames } from '../src/diffusion/output.js';
import { definePipeline } from '../src/diffusion/pipeline.js';
import { prepareSampling } from '../src/diffusion/prepare.js';
import { assertKeys, checkPrompts, promptKeys, promptSettings, promptsAlong } from '../src/diffusion/prompt-keys.js';
import { sampleFromSource } from '../src/diffusion/sample.js';
import { planSource, Source } from '../src/diffusion/source.js';

export const videoToVideo = definePipeline({
  name: 'restyle',
  summary: 'Restyle a clip by a prompt; its structure and its sound stay',
  options: z
    .object({
      input: z
        .string()
        .min(1)
        .meta({ positional: 0, inputFile: true })
        .describe('the clip, image or folder of frames to restyle'),
      prompt: promptOptions.prompt.meta({ positional: 1 }),
      promptAt: promptOptions.promptAt,
      strength: z
        .number()
        .gt(0)
        .max(1)
        .optional()
        .describe('how much is made anew: near 0 the source, 1 only its structure (default: the model’s)'),
      ...sourceOptions,
      ...controlOptions,
      ...samplingOptions,
      ...vaeOptions,
    })
    .superRefine(checkPrompts),
  async run(model, options, context) {
    const { manifest } = model;
    const { size, frameRate, audio, warnings: ofSource } = await planSource(manifest, options, context);
    const strength = options.strength ?? manifest.defaults.strength;
    const follows = manifest.tasks.includes('restyle');
    // Without following it, a source is started from; who is told of the whole clip would be told that there is none.
    const startsFrom = strength < 1 && manifest.graphs.denoiser.conditionFrom !== 'pixels';
    if (!follows) requireTask(manifest, startsFrom ? 'text' : 'restyle');
    const guidanceScale = options.guidanceScale ?? (follows ? manifest.defaults.sourceGuidanceScale : undefined);
    const sampled = { ...options, strength, guidanceScale, frameRate };
    const reading = { ...size, frameRate, startSeconds: options.startSeconds };
    const controls = await openControls(parseControls(manifest, options.control), reading, context);
    const keys = promptKeys(options);
    assertKeys(manifest, keys);
    const prepared = await prepareSampling(model, sampled, keys, context);
    const prompts = promptsAlong(manifest, keys, prepared.sampling.prompts);
    const sampling = { ...prepared.sampling, prompts, controls };
    const source = new Source(options.input, { ...options, ...size, frameRate });
    const latents = closing(controls, sampleFromSource(sampling, source.pieces(model, context), follows, context));
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
        ...promptSettings(options),
        strength,
        ...(options.control === undefined ? {} : { control: options.control }),
        startSeconds: options.startSeconds,
        ...(options.maxFrames === undefined ? {} : { maxFrames: options.maxFrames }),
        ...size,
        frameRate,
        ...prepared.settings,
      },
      audio,
      warnings: [...ofSource, ...prepared.warnings],
    };
  },
});
