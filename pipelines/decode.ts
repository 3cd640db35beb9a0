// Saved latents to frames: the second half of a run that stopped there, or of `encode`.
import { z } from 'zod';
import { pixelFrames } from '../src/diffusion/geometry.js';
import { readLatents } from '../src/diffusion/latents-file.js';
import { frameRateOptions, vaeOptions } from '../src/diffusion/options.js';
import { decodeFrames } from '../src/diffusion/output.js';
import { definePipeline } from '../src/diffusion/pipeline.js';
import { axis, lengthOf, type Tensor } from '../src/tensor/tensor.js';

export const decode = definePipeline({
  name: 'decode',
  summary: 'Decode saved latents to a clip',
  options: z.object({
    input: z.string().min(1).meta({ positional: 0, inputFile: true }).describe('a .safetensors file of latents'),
    ...frameRateOptions,
    ...vaeOptions,
  }),
  async run(model, options, context) {
    const { manifest } = model;
    const { latents, info } = await readLatents(options.input, model);
    const { leadFrames = 0, glides } = info;
    const decoded = pixelFrames(manifest, lengthOf(latents, axis.time)) - leadFrames;
    const numFrames = Math.min(decoded, info.numFrames ?? decoded);
    const frameRate = options.frameRate ?? info.frameRate;

    async function* whole(): AsyncGenerator<Tensor> {
      yield latents;
    }

    const pieces = whole();
    return {
      width: lengthOf(latents, axis.width) * manifest.latent.spatialCompression,
      height: lengthOf(latents, axis.height) * manifest.latent.spatialCompression,
      frameRate,
      numFrames,
      latents: pieces,
      frames: decodeFrames(model, pieces, context, {
        tileSize: options.tileSize,
        skip: leadFrames,
        glides,
        limit: () => numFrames,
      }),
      leadFrames,
      glides,
      settings: { ...info.settings, frameRate },
      warnings: [],
    };
  },
});
