// A clip through the VAE and back: what the model's latent space keeps of it.
import { z } from 'zod';
import { sourceSize } from '../src/diffusion/geometry.js';
import { frameRateOptions, sizeOptions, vaeOptions } from '../src/diffusion/options.js';
import { decodeFrames } from '../src/diffusion/output.js';
import { definePipeline } from '../src/diffusion/pipeline.js';
import { Source } from '../src/diffusion/source.js';
import { probe } from '../src/media/probe.js';
import type { Tensor } from '../src/tensor/tensor.js';

export const reconstruct = definePipeline({
  name: 'reconstruct',
  summary: 'Pass a clip through the VAE and back',
  options: z.object({
    input: z.string().min(1).meta({ positional: 0, inputFile: true }).describe('the clip or image'),
    startSeconds: z.number().min(0).default(0).meta({ flag: 'start' }).describe('seconds into the source to start at'),
    maxFrames: z
      .int()
      .min(1)
      .optional()
      .meta({ flag: 'frames' })
      .describe('frames at most (default: the whole source)'),
    ...sizeOptions,
    ...frameRateOptions,
    ...vaeOptions,
  }),
  async run(model, options, context) {
    const { manifest } = model;
    const info = await probe(options.input, { signal: context.signal });
    const size = sourceSize(manifest, info, options);
    const frameRate = options.frameRate ?? (info.isStill ? manifest.defaults.frameRate : info.frameRate);
    const source = new Source(options.input, { ...options, ...size, frameRate });

    async function* encodeSource(): AsyncGenerator<Tensor> {
      for await (const piece of source.pieces(model, context)) yield piece.latents;
    }

    const latents = encodeSource();
    return {
      ...size,
      frameRate,
      get numFrames() {
        return source.numFrames;
      },
      latents,
      frames: decodeFrames(model, latents, context, { tileSize: options.tileSize, limit: () => source.numFrames }),
      settings: { pipeline: 'reconstruct', startSeconds: options.startSeconds, ...size, frameRate, model: model.name },
      audio: info.hasAudio ? { path: options.input, startSeconds: options.startSeconds } : undefined,
      warnings: [],
    };
  },
});
