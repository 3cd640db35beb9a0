// A clip through the VAE and back: what the model's latent space keeps of it.
import { z } from 'zod';
import { sourceOptions, vaeOptions } from '../src/diffusion/options.js';
import { decodeFrames } from '../src/diffusion/output.js';
import { definePipeline } from '../src/diffusion/pipeline.js';
import { planSource, Source } from '../src/diffusion/source.js';
import type { Tensor } from '../src/tensor/tensor.js';

export const reconstruct = definePipeline({
  name: 'reconstruct',
  summary: 'Pass a clip through the VAE and back',
  options: z.object({
    input: z.string().min(1).meta({ positional: 0, inputFile: true }).describe('the clip, image or folder of frames'),
    ...sourceOptions,
    ...vaeOptions,
  }),
  async run(model, options, context) {
    const { manifest } = model;
    const { size, frameRate, audio, warnings } = await planSource(manifest, options, context);
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
      settings: {
        pipeline: 'reconstruct',
        startSeconds: options.startSeconds,
        ...size,
        frameRate,
        model: model.reference,
      },
      audio,
      warnings,
    };
  },
});
