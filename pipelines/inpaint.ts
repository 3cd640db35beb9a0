// A clip with a part made anew by a prompt; everything outside the mask stays as it was, and so does the sound.
import { z } from 'zod';
import { requireTask } from '../src/diffusion/conditions.js';
import { composite, greyOut, keepMask, type Mask, readMasks, takeMasks } from '../src/diffusion/masks.js';
import { prompt, samplingOptions, sourceOptions, vaeOptions } from '../src/diffusion/options.js';
import { decodeFrames } from '../src/diffusion/output.js';
import { definePipeline } from '../src/diffusion/pipeline.js';
import { prepareSampling } from '../src/diffusion/prepare.js';
import { sampleFromSource } from '../src/diffusion/sample.js';
import { planSource, Source } from '../src/diffusion/source.js';
import type { SourcePiece } from '../src/diffusion/source-windows.js';
import type { Frame } from '../src/media/frame.js';
import type { Posterior } from '../src/networks/model.js';
import { axis, lengthOf } from '../src/tensor/tensor.js';

export const inpaint = definePipeline({
  name: 'inpaint',
  summary: 'Make a part of a clip anew; the rest and the sound stay',
  options: z.object({
    input: z.string().min(1).meta({ positional: 0, inputFile: true }).describe('the clip or image'),
    prompt: prompt.meta({ positional: 1 }),
    mask: z.string().min(1).describe('what is made anew: a picture or clip (white), or x,y,w,h in source pixels'),
    strength: z.number().gt(0).max(1).default(1).describe('how much the masked part forgets what was there'),
    ...sourceOptions,
    ...samplingOptions,
    ...vaeOptions,
  }),
  async run(model, options, context) {
    const { manifest } = model;
    requireTask(manifest, 'inpaint');
    const { size, frameRate, audio, displayed } = await planSource(manifest, options, context);
    const prepared = await prepareSampling(model, { ...options, frameRate }, [{ text: options.prompt }], context);

    // Frames and masks that were read but not yet written: bounded by a window and the VAE's look-ahead.
    const readAhead: Frame[] = [];
    const masksAhead: Mask[] = [];
    const sourceOptions = { ...options, ...size, frameRate };
    const source = new Source(options.input, sourceOptions, { onFrame: (frame) => void readAhead.push(frame) });
    const openMasks = () => readMasks(options.mask, displayed, size, frameRate, context.signal);
    const masks = openMasks();

    /** The clip once more, as denoisers are shown it that take it with grey in place of what is made anew. */
    async function* greyedPieces(): AsyncGenerator<Posterior> {
      if (manifest.graphs.denoiser.conditionFrom !== 'pixels') return;
      const greyMasks = openMasks();
      const greyed = new Source(options.input, sourceOptions, {
        onPixels: async (pixels) => greyOut(pixels, await takeMasks(greyMasks, lengthOf(pixels, axis.time))),
      });
      try {
        yield* greyed.pieces(model, context);
      } finally {
        await greyMasks.return(undefined as never);
      }
    }

    async function* pieces(): AsyncGenerator<SourcePiece> {
      let isFirst = true;
      const allGreyed = greyedPieces();
      try {
        for await (const piece of source.pieces(model, context)) {
          const groups: Mask[][] = [];
          for (let frame = 0; frame < lengthOf(piece.latents, axis.time); frame++) {
            const group = await takeMasks(masks, isFirst ? 1 : manifest.latent.temporalCompression);
            isFirst = false;
            masksAhead.push(...group);
            groups.push(group);
          }
          const { value: greyed } = await allGreyed.next();
          yield { ...piece, keep: keepMask(manifest, groups, size), greyed };
        }
      } finally {
        await allGreyed.return(undefined);
      }
    }

    const latents = sampleFromSource(prepared.sampling, pieces(), false, context);

    async function* frames(): AsyncGenerator<Frame> {
      const limit = () => source.numFrames;
      try {
        for await (const made of decodeFrames(model, latents, context, {
          tileSize: options.tileSize,
          noise: prepared.sampling.noise,
          limit,
        })) {
          yield composite(readAhead.shift() as Frame, made, masksAhead.shift() as Mask);
        }
      } finally {
        await masks.return(undefined as never);
      }
    }

    return {
      ...size,
      frameRate,
      get numFrames() {
        return source.numFrames;
      },
      latents,
      frames: frames(),
      settings: {
        pipeline: 'inpaint',
        prompt: options.prompt,
        mask: options.mask,
        strength: options.strength,
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
