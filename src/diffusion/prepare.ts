// From options to a sampling: the model's defaults filled in, prompts read, the scheduler chosen, the seed drawn.
import { randomInt } from 'node:crypto';
import { expected, InvalidOptionError, throwIfCancelled } from '../errors.js';
import type { Manifest } from '../networks/manifest.js';
import type { Model, PromptEmbeds } from '../networks/model.js';
import type { UnknownWord } from '../networks/tokenizer.js';
import { createScheduler, withScheduler } from '../schedulers/create-scheduler.js';
import { axis, concat, createTensor, slice, type Tensor } from '../tensor/tensor.js';
import { readReference } from './control.js';
import type { SamplingOptions } from './options.js';
import type { RunContext } from './progress.js';
import { RunNoise } from './run-noise.js';
import type { Sampling, TimedPrompt } from './sampling.js';

/** A sampling with what is to be told about it. */
export interface Prepared {
  readonly sampling: Sampling;
  /** The options as they were resolved, for the file's settings. */
  readonly settings: Readonly<Record<string, unknown>>;
  readonly warnings: readonly string[];
}

/** What a pipeline adds to the options of sampling. */
export interface RunOptions {
  readonly strength?: number | undefined;
  readonly frameRate: number;
  /** [1, N, D]: the picture that prompts are read with, where the model reads them so; the negative prompt is read with none. */
  readonly imageEmbeds?: Tensor | undefined;
  /** Pictures of what the clip shows, by their paths. */
  readonly reference?: string | undefined;
}

/** Returns what a run needs, from its options. Several prompts are given their weights along time by the caller. */
export async function prepareSampling(
  model: Model,
  options: SamplingOptions & RunOptions,
  prompts: readonly { readonly text: string }[],
  context: RunContext,
): Promise<Prepared> {
  const { defaults, graphs } = model.manifest;
  throwIfCancelled(context.signal);
  const { guidanceStart, guidanceEnd } = options;
  if (guidanceStart > guidanceEnd) {
    throw new InvalidOptionError(expected('guidance end', `at least its start of ${guidanceStart}`, guidanceEnd));
  }
  const negativePrompt = options.negativePrompt ?? defaults.negativePrompt;
  const steps = options.steps ?? defaults.steps;
  const guidanceScale = options.guidanceScale ?? defaults.guidanceScale;
  const isTold = graphs.denoiser.inputs.includes('guidance');
  const isZero = options.negativePrompt === undefined && graphs.textEncoder.unaskedNegative === 'zeros';
  const scale2 = secondScale(model.manifest, options);
  const trueScale = trueGuidance(model.manifest, options);
  // A model that is told the scale needs no second pass.
  const scale = isTold ? (trueScale ?? 1) : guidanceScale;
  const seed = options.seed ?? randomInt(2 ** 32);
  const strength = options.strength ?? 1;
  const scheduler =
    options.scheduler === undefined
      ? createScheduler(model.schedulerConfig)
      : withScheduler(model.schedulerConfig, options.scheduler, { givesSigmas: defaults.sigmas !== undefined });
  const reference = await readReference(model, options.reference);
  const texts = [...prompts.map((prompt) => prompt.text), negativePrompt];
  const { imageEmbeds: picture } = options;
  const imageEmbeds =
    picture === undefined
      ? undefined
      : concat([...prompts.map(() => picture), createTensor(picture.shape)], axis.batch);
  const encode = () => model.encodePrompts(texts, { signal: context.signal, priority: context.priority, imageEmbeds });
  const embeds = await (context.clock === undefined ? encode() : context.clock.time('prompt', encode));
  context.onProgress?.({ stage: 'prompt', done: texts.length, total: texts.length });
  const timed: TimedPrompt[] = prompts.map((_, index) => ({ prompt: rowOf(embeds, index) }));
  return {
    sampling: {
      model,
      scheduler,
      steps,
      strength,
      guidance: {
        scale,
        scale2,
        rescale: options.guidanceRescale,
        start: options.guidanceStart,
        end: options.guidanceEnd,
      },
      toldGuidance: isTold ? guidanceScale : undefined,
      prompts: timed,
      negative: isZero ? zeroed(rowOf(embeds, prompts.length)) : rowOf(embeds, prompts.length),
      windows: options.windows,
      cache: options.cache,
      frameRate: options.frameRate,
      reference,
      noise: new RunNoise(model.manifest, seed),
    },
    settings: {
      model: model.reference,
      ...describeLoras(model),
      seed,
      steps,
      guidanceScale,
      ...(scale2 === undefined ? {} : { guidanceScale2: scale2 }),
      ...(trueScale === undefined ? {} : { trueGuidanceScale: trueScale }),
      guidanceRescale: options.guidanceRescale,
      guidanceStart: options.guidanceStart,
      guidanceEnd: options.guidanceEnd,
      // To ask for it by --like would be to ask for its embeddings.
      ...(isZero ? {} : { negativePrompt }),
      windows: options.windows,
      cache: options.cache,
      ...(options.scheduler === undefined ? {} : { scheduler: options.scheduler }),
    },
    warnings: [
      ...embeds.truncated.map(
        ({ prompt, cut }) =>
          `The prompt "${prompt.slice(0, 40)}…" is longer than the model reads; it left out "${cut.slice(0, 80)}".`,
      ),
      ...(embeds.unknownWords === undefined || embeds.unknownWords.length === 0
        ? []
        : [
            `${model.name} was not taught ${embeds.unknownWords.map(describeWord).join(', ')} and may pass over that; ` +
              (reference === undefined
                ? `\`reelspace models info ${model.reference}\` lists what it can draw.`
                : 'the reference is drawn all the same.'),
          ]),
      ...(options.negativePrompt && Math.max(scale, scale2 ?? 0) <= 1
        ? [
            `A negative prompt counts only with a ${isTold ? 'true ' : ''}guidance scale above 1, and this run has ${scale}.`,
          ]
        : []),
    ],
  };
}

function describeWord({ word, nearest }: UnknownWord): string {
  return nearest === undefined ? `"${word}"` : `"${word}" (${nearest}?)`;
}

/** Returns the guidance of a model's second denoiser where it differs from the first one's. */
function secondScale({ name, graphs }: Manifest, options: SamplingOptions): number | undefined {
  if (graphs.denoiser2 !== undefined) {
    return options.guidanceScale2 ?? (options.guidanceScale === undefined ? graphs.denoiser2.guidanceScale : undefined);
  }
  if (options.guidanceScale2 === undefined) return undefined;
  throw new InvalidOptionError(
    `Expected no guidance for a second denoiser, as model "${name}" has one denoiser, got ${options.guidanceScale2}. Leave it out.`,
  );
}

/** Returns the scale of a second pass by a model that is told the guidance scale, where one was asked for. */
function trueGuidance({ name, graphs }: Manifest, { trueGuidanceScale }: SamplingOptions): number | undefined {
  if (trueGuidanceScale === undefined || graphs.denoiser.inputs.includes('guidance')) return trueGuidanceScale;
  throw new InvalidOptionError(
    `Expected no true guidance scale, as model "${name}" has no other one, got ${trueGuidanceScale}. Give it as the guidance scale.`,
  );
}

function describeLoras({ loras }: Model): Record<string, unknown> {
  if (loras.length === 0) return {};
  const isPartial = loras.some(({ unmatchedKeys }) => unmatchedKeys.length > 0);
  return { loras: loras.map(({ path, scale }) => ({ path, scale })), ...(isPartial ? { loraPartial: true } : {}) };
}

function rowOf({ embeds, mask, pooled }: PromptEmbeds, row: number): PromptEmbeds {
  return {
    embeds: slice(embeds, axis.batch, row, row + 1),
    mask: slice(mask, axis.batch, row, row + 1),
    pooled: pooled === undefined ? undefined : slice(pooled, axis.batch, row, row + 1),
    truncated: [],
  };
}

function zeroed(prompt: PromptEmbeds): PromptEmbeds {
  const { embeds, pooled } = prompt;
  return {
    ...prompt,
    embeds: createTensor(embeds.shape),
    pooled: pooled === undefined ? undefined : createTensor(pooled.shape),
  };
}
