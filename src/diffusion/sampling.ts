// What a clip's latents are made from, whatever windows it is made in.
import type { Model, PromptEmbeds } from '../networks/model.js';
import type { Scheduler } from '../schedulers/scheduler.js';
import type { Tensor } from '../tensor/tensor.js';
import type { ControlClip } from './control-clip.js';
import type { Guidance } from './guidance.js';
import type { RunNoise } from './run-noise.js';
import type { CacheSetting } from './step-cache.js';

/** A prompt and how much it counts at each latent frame. */
export interface TimedPrompt {
  readonly prompt: PromptEmbeds;
  /** Returns the weight at a latent frame of the clip; those of all prompts sum to 1. Undefined counts as 1 everywhere. */
  readonly weightAt?: ((frame: number) => number) | undefined;
}

/** What a clip's latents are made from. */
export interface Sampling {
  readonly model: Model;
  readonly scheduler: Scheduler;
  readonly steps: number;
  /** Below 1, the run starts from the source noised to that share of the schedule. */
  readonly strength: number;
  readonly guidance: Guidance;
  /** The scale that a model is told as a number, where it takes one. */
  readonly toldGuidance?: number | undefined;
  readonly prompts: readonly TimedPrompt[];
  readonly negative: PromptEmbeds;
  /** 'stream' makes one window after the other and holds one; 'joint' blends all windows at every step. */
  readonly windows: 'stream' | 'joint';
  /** Which network calls are foretold instead of made. Default 'off'. */
  readonly cache?: CacheSetting | undefined;
  /** Whether windows of one frame all draw the same noise, so that pictures along a path or a clip don't flicker. Default false. */
  readonly isSteady?: boolean | undefined;
  /** [1, 4, S, S]: a picture of what the clip shows, as `DenoiserCall` has it. */
  readonly reference?: Tensor | undefined;
  /** Clips that say what is to be made. */
  readonly controls?: readonly ControlClip[] | undefined;
  /** Frames a second of the clip. */
  readonly frameRate: number;
  /** Noise of the run. */
  readonly noise: RunNoise;
}
