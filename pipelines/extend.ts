// A clip that goes on: its own frames first, then new ones that follow from its last.
import { z } from 'zod';
import { requireTask } from '../src/diffusion/conditions.js';
import { latentFrames, latentShape, leadFrames, pixelFrames } from '../src/diffusion/geometry.js';
import { embedForPrompts, startFromFrames } from '../src/diffusion/given-frames.js';
import { frameRateOptions, prompt, samplingOptions, sizeOptions, vaeOptions } from '../src/diffusion/options.js';
import { decodeFrames } from '../src/diffusion/output.js';
import { definePipeline } from '../src/diffusion/pipeline.js';
import { prepareSampling } from '../src/diffusion/prepare.js';
import { sampleLatents } from '../src/diffusion/sample.js';
import { planSource } from '../src/diffusion/source.js';
import { expected, InvalidOptionError, MediaError } from '../src/errors.js';
import type { Frame } from '../src/media/frame.js';
import { readClip } from '../src/media/frame-folder.js';
import { frameStep, type Manifest, readsPictures } from '../src/networks/manifest.js';
import type { Tensor } from '../src/tensor/tensor.js';

export const extend = definePipeline({
  name: 'extend',
  summary: 'Go on where a clip ends',
  options: z.object({
    input: z
      .string()
      .min(1)
      .meta({ positional: 0, inputFile: true })
      .describe('the clip to extend, or a folder of its frames'),
    prompt: prompt.default('').meta({ positional: 1 }),
    numFrames: z
      .int()
      .min(1)
      .max(1_000_000)
      .optional()
      .meta({ flag: 'frames' })
      .describe('number of new frames, a multiple of the model’s temporal compression'),
    ...sizeOptions,
    ...frameRateOptions,
    ...samplingOptions,
    ...vaeOptions,
  }),
  async run(model, options, context) {
    const { manifest } = model;
    requireTask(manifest, 'first-frame');
    const { size, frameRate, audio, warnings: ofSource } = await planSource(manifest, options, context);
    const numFrames = options.numFrames ?? manifest.defaults.numFrames - 1;
    const newLatents = newLatentFrames(manifest, numFrames);
    const lead = leadFrames(manifest);
    const wantedTail = lead > 0 ? 1 : pixelFrames(manifest, Math.max(1, manifest.window.overlap));
    const readSource = () => readClip(options.input, { ...size, fit: 'cover', frameRate, signal: context.signal });
    /** What is known of the clip once it has been read. */
    let source: { readonly numFrames: number; readonly tailFrames: number } | undefined;
    // Where the prompt is read with a picture, the clip is read once more.
    const [shown] = readsPictures(manifest) ? await readTail() : [];
    const imageEmbeds = shown === undefined ? undefined : await embedForPrompts(model, shown, context);
    const { sampling, settings, warnings } = await prepareSampling(
      model,
      { ...options, frameRate, imageEmbeds },
      [{ text: options.prompt }],
      context,
    );

    /** Yields the clip's frames and returns the last of them, as many as the model goes on from. */
    async function* readToTail(): AsyncGenerator<Frame, Frame[]> {
      const tail: Frame[] = [];
      let count = 0;
      for await (const frame of readSource()) {
        // The receiver of a frame may change it, and the tail is needed as it was.
        pushBounded(tail, { ...frame, data: frame.data.slice() }, wantedTail);
        count++;
        yield frame;
      }
      const usable = usableTail(tail, manifest, options.input);
      source = { numFrames: count, tailFrames: usable.length };
      return usable;
    }

    async function readTail(): Promise<Frame[]> {
      const frames = readToTail();
      for (;;) {
        const next = await frames.next();
        if (next.done === true) return next.value;
      }
    }

    async function* continueFrom(tail: readonly Frame[]): AsyncGenerator<Tensor> {
      // Behind a picture that is no part of it, a clip has one frame more than there are new ones.
      const added = newLatents + (lead > 0 ? 1 : 0);
      const shape = latentShape(manifest, size, latentFrames(manifest, tail.length) + added);
      const start = await startFromFrames(model, { first: tail }, shape, context);
      yield* sampleLatents(sampling, shape, start, context);
    }

    async function* latents(): AsyncGenerator<Tensor> {
      yield* continueFrom(await readTail());
    }

    /** Returns how many frames are decoded in front of the new ones, once the source has been read. */
    const decodedLead = () => (lead > 0 ? lead : source?.tailFrames);

    async function* frames(): AsyncGenerator<Frame> {
      const tail = yield* readToTail();
      yield* decodeFrames(model, continueFrom(tail), context, {
        tileSize: options.tileSize,
        noise: sampling.noise,
        skip: decodedLead(),
        limit: () => numFrames,
        total: numFrames,
      });
    }

    return {
      ...size,
      frameRate,
      get numFrames() {
        return source === undefined ? undefined : source.numFrames + numFrames;
      },
      decodedFrames: numFrames,
      latents: latents(),
      frames: frames(),
      settings: { pipeline: 'extend', prompt: options.prompt, ...size, numFrames, frameRate, ...settings },
      get leadFrames() {
        return decodedLead();
      },
      audio,
      warnings: [...ofSource, ...warnings],
    };
  },
});

function newLatentFrames(manifest: Manifest, numFrames: number): number {
  const step = frameStep(manifest);
  if (numFrames % step === 0) return numFrames / manifest.latent.temporalCompression;
  const below = Math.max(1, Math.floor(numFrames / step)) * step;
  throw new InvalidOptionError(
    expected('frames', `a multiple of ${step}`, numFrames, `The nearest are ${below} and ${below + step}.`),
  );
}

function pushBounded<T>(items: T[], item: T, most: number): void {
  items.push(item);
  if (items.length > most) items.shift();
}

/** Returns the last of those frames, as many as the VAE takes: one more than a multiple of its temporal compression. */
function usableTail(tail: readonly Frame[], manifest: Manifest, input: string): Frame[] {
  if (tail.length === 0) throw new MediaError(`Expected at least one frame in ${input}, got none.`);
  return tail.slice((tail.length - 1) % frameStep(manifest));
}
