// A clip from a prompt.
import { z } from 'zod';
import { requireTask } from '../src/diffusion/conditions.js';
import { startFromControl, withReferences } from '../src/diffusion/control.js';
import { closing, openControls, parseControls } from '../src/diffusion/control-clip.js';
import { clipSize, latentFrames, latentShape } from '../src/diffusion/geometry.js';
import {
  controlOptions,
  frameRateOptions,
  lengthOptions,
  promptOptions,
  referenceOptions,
  samplingOptions,
  sizeOptions,
  vaeOptions,
} from '../src/diffusion/options.js';
import { decodeFrames } from '../src/diffusion/output.js';
import { definePipeline } from '../src/diffusion/pipeline.js';
import { prepareSampling } from '../src/diffusion/prepare.js';
import { assertKeys, checkPrompts, promptKeys, promptSettings, promptsAlong } from '../src/diffusion/prompt-keys.js';
import { sampleLatents } from '../src/diffusion/sample.js';
import type { Start } from '../src/diffusion/start.js';
import { axis, type Tensor } from '../src/tensor/tensor.js';

export const textToVideo = definePipeline({
  name: 'generate',
  summary: 'Make a clip from a prompt',
  options: z
    .object({
      prompt: promptOptions.prompt.meta({ positional: 0 }),
      promptAt: promptOptions.promptAt,
      ...lengthOptions,
      ...sizeOptions,
      ...frameRateOptions,
      ...controlOptions,
      ...referenceOptions,
      ...samplingOptions,
      ...vaeOptions,
    })
    .superRefine(checkPrompts),
  async run(model, options, context) {
    const { manifest } = model;
    requireTask(manifest, 'text');
    const asked = parseControls(manifest, options.control);
    const size = clipSize(manifest, options);
    const numFrames = options.numFrames ?? manifest.defaults.numFrames;
    const frameRate = options.frameRate ?? manifest.defaults.frameRate;
    const shape = latentShape(manifest, size, latentFrames(manifest, numFrames));
    const keys = promptKeys(options);
    assertKeys(manifest, keys, numFrames);
    const controls = await openControls(asked, { ...size, frameRate, numFrames }, context);
    const prepared = await prepareSampling(model, { ...options, frameRate }, keys, context);
    const prompts = promptsAlong(manifest, keys, prepared.sampling.prompts, shape[axis.time]);
    const sampling = { ...prepared.sampling, prompts, controls };

    async function* makeLatents(): AsyncGenerator<Tensor> {
      let start: Start = {};
      if (manifest.graphs.denoiser.conditionFrom === 'pixels') {
        start = await startFromControl(model, controls[0], shape, context);
      }
      start = await withReferences(model, start, options.reference, size, context);
      yield* sampleLatents(sampling, shape, start, context);
    }

    const latents = closing(controls, makeLatents());
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
      settings: {
        pipeline: 'generate',
        ...promptSettings(options),
        ...(options.control === undefined ? {} : { control: options.control }),
        ...(options.reference === undefined ? {} : { reference: options.reference }),
        ...size,
        numFrames,
        frameRate,
        ...prepared.settings,
      },
      warnings: prepared.warnings,
    };
  },
});
