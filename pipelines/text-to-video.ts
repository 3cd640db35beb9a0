// A clip from a prompt.
import { z } from 'zod';
import { requireTask } from '../src/diffusion/conditions.js';
import { clipSize, latentFrames, latentShape } from '../src/diffusion/geometry.js';
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

export const textToVideo = definePipeline({
  name: 'generate',
  summary: 'Make a clip from a prompt',
  options: z.object({
    prompt: prompt.meta({ positional: 0 }),
    ...lengthOptions,
    ...sizeOptions,
    ...frameRateOptions,
    ...samplingOptions,
    ...vaeOptions,
  }),
  async run(model, options, context) {
    const { manifest } = model;
    requireTask(manifest, 'text');
    const size = clipSize(manifest, options);
    const numFrames = options.numFrames ?? manifest.defaults.numFrames;
    const frameRate = options.frameRate ?? manifest.defaults.frameRate;
    const shape = latentShape(manifest, size, latentFrames(manifest, numFrames));
    const { sampling, settings, warnings } = await prepareSampling(
      model,
      { ...options, frameRate },
      [{ text: options.prompt }],
      context,
    );
    const latents = sampleLatents(sampling, shape, {}, context);
    return {
      ...size,
      frameRate,
      numFrames,
      latents,
      frames: decodeFrames(model, latents, context, {
        tileSize: options.tileSize,
        noise: sampling.noise,
        total: numFrames,
      }),
      settings: { pipeline: 'generate', prompt: options.prompt, ...size, numFrames, frameRate, ...settings },
      warnings,
    };
  },
});
