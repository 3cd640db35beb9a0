// One guided denoise step, for our own code and for PyTorch.
import { RunNoise } from '../../src/diffusion/run-noise.js';
import { sampleLatents } from '../../src/diffusion/sample.js';
import type { Model, PromptEmbeds } from '../../src/networks/model.js';
import { createScheduler } from '../../src/schedulers/create-scheduler.js';
import { TorchRandom } from '../../src/tensor/random.js';
import { axis, createTensor, slice, type Tensor } from '../../src/tensor/tensor.js';
import { join } from '../networks/tiny-model.js';

/** Two passes a step, as most video models take by default. */
export const guidanceScale = 2;

/** A network with its inputs, to be run as often as wanted. */
export interface PreparedRun {
  /** What PyTorch is given. */
  readonly inputs: Readonly<Record<string, Tensor>>;
  /** Returns the output by our own code path. */
  ours(): Promise<Tensor>;
}

/**
 * Returns a run of one step from noise to a clip of the model's own size: two passes of the network, guidance, and the step
 * of the scheduler. Throws unless the model is sampled by Euler's method for flow matching.
 */
export async function denoiseStep(model: Model): Promise<PreparedRun> {
  const { defaults, latent } = model.manifest;
  const frames = (defaults.numFrames - 1) / latent.temporalCompression + 1;
  const across = (length: number) => length / latent.spatialCompression;
  const shape = [1, latent.channels, frames, across(defaults.height), across(defaults.width)];
  const scheduler = createScheduler(model.schedulerConfig);
  if (scheduler.className !== 'FlowMatchEulerDiscreteScheduler') {
    throw new Error(`Expected a model that is sampled with flow matching, got ${scheduler.className}.`);
  }
  const { sigmas, timesteps } = scheduler.schedule({ steps: 1 });
  const seed = 7;
  const noise = new TorchRandom(seed).normal(shape);
  const embeds = await model.encodePrompts(['a chicken on a beach', defaults.negativePrompt]);
  const sampling = {
    model,
    scheduler,
    steps: 1,
    strength: 1,
    guidance: { scale: guidanceScale, rescale: 0, start: 0, end: 1 },
    prompts: [{ prompt: rowOf(embeds, 0) }],
    negative: rowOf(embeds, 1),
    windows: 'stream',
    frameRate: defaults.frameRate,
    noise: new RunNoise(model.manifest, seed),
  } as const;
  return {
    inputs: {
      latents: noise,
      timestep: createTensor([1], Float32Array.from(timesteps)),
      sigmas: createTensor([2], Float32Array.from(sigmas)),
      prompt_embeds: embeds.embeds,
      scale: createTensor([1], Float32Array.of(guidanceScale)),
    },
    ours: () => join(sampleLatents(sampling, shape, { noise }, {})),
  };
}

function rowOf({ embeds, mask }: PromptEmbeds, row: number): PromptEmbeds {
  return {
    embeds: slice(embeds, axis.batch, row, row + 1),
    mask: slice(mask, axis.batch, row, row + 1),
    truncated: [],
  };
}
