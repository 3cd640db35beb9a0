// A clip with a part made anew by a prompt; everything outside the mask stays as it was, and so does the sound.
import { z } from 'zod';
import { requireTask } from '../src/diffusion/conditions.js';
import { withReferences } from '../src/diffusion/control.js';
import { closing, openControls, parseControls } from '../src/diffusion/control-clip.js';
import { Compositor, greyOut, keepMask, type Mask, readMasks, takeMasks } from '../src/diffusion/masks.js';
import {
  controlOptions,
  prompt,
  referenceOptions,
  samplingOptions,
  sourceOptions,
  vaeOptions,
} from '../src/diffusion/options.js';
import { decodeFrames } from '../src/diffusion/output.js';
import { definePipeline } from '../src/diffusion/pipeline.js';
import { prepareSampling } from '../src/diffusion/prepare.js';
import { sampleFromSource, sampleLatents } from '../src/diffusion/sample.js';
import { planSource, Source } from '../src/diffusion/source.js';
import type { SourcePiece } from '../src/diffusion/source-windows.js';
import { type MaskedFrame, tellSource } from '../src/diffusion/told-source.js';
import { expected, InvalidOptionError } from '../src/errors.js';
import type { Frame } from '../src/media/frame.js';
import type { Posterior } from '../src/networks/model.js';
import { axis, lengthOf, type Tensor } from '../src/tensor/tensor.js';

export const inpaint = definePipeline({
  name: 'inpaint',
  summary: 'Make a part of a clip anew; the rest and the sound stay',
  options: z.object({
    input: z.string().min(1).meta({ positional: 0, inputFile: true }).describe('the clip, image or folder of frames'),
    prompt: prompt.meta({ positional: 1 }),
    mask: z
      .string()
      .min(1)
      .meta({ mayNameFiles: true })
      .describe(
        'what is made anew: a picture, clip or folder of frames (white; frames are read from --start on), or x,y,w,h in source pixels',
      ),
    strength: z.number().gt(0).max(1).default(1).describe('how much the masked part forgets what was there'),
    ...sourceOptions,
    ...controlOptions,
    ...referenceOptions,
    ...samplingOptions,
    ...vaeOptions,
  }),
  async run(model, options, context) {
    const { manifest } = model;
    requireTask(manifest, 'inpaint');
    // Told of both parts of the clip, and of the mask pixel by pixel.
    const isTold = manifest.graphs.denoiser.controls !== undefined;
    if (options.reference !== undefined) requireTask(manifest, 'reference');
    if (isTold && options.strength < 1) {
      throw new InvalidOptionError(expected('strength', `1 for model "${model.name}"`, options.strength));
    }
    const { size, frameRate, audio, warnings: ofSource, displayed } = await planSource(manifest, options, context);
    const asked = parseControls(manifest, options.control);
    if (isTold && asked.length > 0) {
      throw new InvalidOptionError(
        `Expected no control, as model "${model.name}" is told of the source in its place, got one. Leave it out.`,
      );
    }
    const reading = { ...size, frameRate, startSeconds: options.startSeconds };
    const controls = await openControls(asked, reading, context);
    const prepared = await prepareSampling(model, { ...options, frameRate }, [{ text: options.prompt }], context);
    const sampling = { ...prepared.sampling, controls };

    // Frames and masks that were read but not yet written: bounded by a window and the VAE's look-ahead. Latents need none.
    const readAhead: Frame[] = [];
    const masksAhead: Mask[] = [];
    let isPasted = false;
    const sourceOptions = { ...options, ...size, frameRate };
    const source = new Source(options.input, sourceOptions, {
      onFrame: (frame) => {
        if (isPasted) readAhead.push(frame);
      },
    });
    const openMasks = () => readMasks(options.mask, displayed, reading, context.signal);

    /** The clip once more, as denoisers are shown it that take it with grey in place of what is made anew. */
    async function* greyedPieces(): AsyncGenerator<Posterior> {
      if (manifest.graphs.denoiser.conditionFrom !== 'pixels') return;
      const masks = openMasks();
      const greyed = new Source(options.input, sourceOptions, {
        onPixels: async (pixels) => greyOut(pixels, await takeMasks(masks, lengthOf(pixels, axis.time))),
      });
      try {
        yield* greyed.pieces(model, context);
      } finally {
        await masks.return(undefined as never);
      }
    }

    async function* pieces(): AsyncGenerator<SourcePiece> {
      let isFirst = true;
      const masks = openMasks();
      const allGreyed = greyedPieces();
      try {
        for await (const piece of source.pieces(model, context)) {
          const groups: Mask[][] = [];
          for (let frame = 0; frame < lengthOf(piece.latents, axis.time); frame++) {
            const group = await takeMasks(masks, isFirst ? 1 : manifest.latent.temporalCompression);
            isFirst = false;
            if (isPasted) masksAhead.push(...group);
            groups.push(group);
          }
          const { value: greyed } = await allGreyed.next();
          yield { ...piece, keep: keepMask(manifest, groups, size), greyed };
        }
      } finally {
        await masks.return(undefined as never);
        await allGreyed.return(undefined);
      }
    }

    async function readMasked(): Promise<MaskedFrame[]> {
      const all: MaskedFrame[] = [];
      const masks = openMasks();
      try {
        for await (const frame of source.frames(context)) {
          const { value: mask } = await masks.next();
          if (isPasted) masksAhead.push(mask);
          all.push({ frame, mask });
        }
      } finally {
        await masks.return(undefined as never);
      }
      return all;
    }

    async function* toldLatents(): AsyncGenerator<Tensor> {
      const told = await tellSource(model, await readMasked(), size, context);
      const start = await withReferences(model, told.start, options.reference, size, context);
      yield* sampleLatents(sampling, told.shape, start, context);
    }

    const made = isTold ? toldLatents() : sampleFromSource(sampling, pieces(), false, context);
    const latents = closing(controls, made);

    async function* frames(): AsyncGenerator<Frame> {
      isPasted = true;
      const compositor = new Compositor();
      for await (const made of decodeFrames(model, latents, context, {
        tileSize: options.tileSize,
        noise: prepared.sampling.noise,
        limit: () => source.numFrames,
      })) {
        yield compositor.composite(readAhead.shift() as Frame, made, masksAhead.shift() as Mask);
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
        ...(options.control === undefined ? {} : { control: options.control }),
        ...(options.reference === undefined ? {} : { reference: options.reference }),
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
