// A command for a pipeline, made from its schema alone.
import { resolve } from 'node:path';
import type { Argv, CommandModule, Options } from 'yargs';
import type { z } from 'zod';
import type { Pipeline } from '../diffusion/pipeline.js';
import { latentsExtension } from '../diffusion/save.js';
import { expected, InvalidOptionError } from '../errors.js';
import { listFrameFolder } from '../media/frame-folder.js';
import { detectMediaKind } from '../media/media-kind.js';
import { type LikeSettings, readLike } from './like.js';
import { parseLoras } from './lora-flag.js';
import { displayName, type OptionFlag, optionFlags, parseOption } from './option-flags.js';
import { assertLatentsName, assertOtherFile, filesIn, outputName, stemOf } from './output-name.js';
import { note, print } from './print.js';
import { runPipeline } from './run-pipeline.js';
import { describeRun } from './run-report.js';

const defaultModel = 'reel-tiny';

type Arguments = Readonly<Record<string, unknown>>;

/** A command with the flags that it knows. */
export interface Command {
  readonly name: string;
  readonly flags: readonly string[];
  readonly module: CommandModule;
}

/** How a command differs from the pipeline that it runs. */
export interface CommandVariant {
  readonly name: string;
  readonly summary: string;
  /** Ending that the output must have. */
  readonly extension: string;
}

/** Returns the command that runs a pipeline, under the pipeline's name or a variant's. */
export function pipelineCommand(pipeline: Pipeline, variant?: CommandVariant): Command {
  const options = optionFlags(pipeline.options);
  const arguments_ = options.filter(({ positional }) => positional !== undefined);
  const flags = { ...pipelineFlags(options), ...runFlags(options) };
  const name = variant?.name ?? pipeline.name;
  return {
    name,
    flags: Object.keys(flags),
    module: {
      command: [name, ...arguments_.map(argumentUsage)].join(' '),
      describe: variant?.summary ?? pipeline.summary,
      builder: (yargs: Argv) => {
        for (const { flag, positional, description } of arguments_) {
          yargs.positional(flag, { type: 'string', array: positional === 'rest', describe: description });
        }
        return yargs.options(flags);
      },
      handler: (given) => run(pipeline, options, given as Arguments, variant),
    },
  };
}

/** Returns how an argument is written in a usage line. `--like` may give what isn't a file, so that only files must be on the command line. */
export function argumentUsage({ flag, positional, isRequired, isInputFile }: OptionFlag): string {
  if (positional === 'rest') return `[${flag}..]`;
  return isRequired && isInputFile ? `<${flag}>` : `[${flag}]`;
}

function pipelineFlags(options: readonly OptionFlag[]): Record<string, Options> {
  return Object.fromEntries(
    options
      .filter(({ positional }) => positional === undefined)
      .map((option) => [
        option.flag,
        {
          requiresArg: true,
          describe:
            option.choices === undefined ? option.description : `${option.description}: ${option.choices.join(', ')}`,
          defaultDescription: option.defaultValue === undefined ? undefined : String(option.defaultValue),
          group: 'Options of the clip:',
        },
      ]),
  );
}

/** Returns the flags of a run itself. Those about noise are for pipelines that draw some. */
export function runFlags(options: readonly OptionFlag[]): Record<string, Options> {
  const text = { requiresArg: true };
  return {
    output: {
      ...text,
      alias: 'o',
      describe:
        'file to write: .mp4, .webm, .gif, .png, a folder/ of PNGs, or .safetensors for latents (default: a new name)',
    },
    model: {
      ...text,
      describe: `name of a bundled model, org/name of a pulled one, or ./folder of one (default: ${defaultModel})`,
    },
    device: {
      ...text,
      describe: 'where networks run: auto, cpu, webgpu, cuda, tensorrt, directml, coreml',
      defaultDescription: 'auto',
    },
    memory: {
      ...text,
      describe:
        'networks kept in memory: low (those in use), balanced (and all but encoders of prompts and pictures), high (all)',
      defaultDescription: 'balanced',
    },
    ...(isSampled(options)
      ? {
          like: { ...text, describe: 'take prompt, seed and settings from a file that reelspace wrote' },
          lora: {
            ...text,
            describe: 'LoRA to merge into the weights, file.safetensors[:scale]; may be given several times',
          },
          'lora-partial': { type: 'boolean', describe: 'pass over what a LoRA holds for no weight of the model' },
          'save-latents': { ...text, describe: 'also keep the latents, in this .safetensors file' },
        }
      : {}),
    json: { type: 'boolean', describe: 'print one JSON object on stdout' },
    quiet: { type: 'boolean', alias: 'q', describe: 'show no progress' },
  };
}

function isSampled(options: readonly OptionFlag[]): boolean {
  return options.some(({ key }) => key === 'seed');
}

async function run(
  pipeline: Pipeline,
  options: readonly OptionFlag[],
  given: Arguments,
  variant: CommandVariant | undefined,
): Promise<void> {
  const schema = pipeline.options;
  const like: LikeSettings =
    given.like === undefined
      ? { model: undefined, loras: [], loraPartial: false, values: {} }
      : await readLike(textOf(given, 'like'), pipeline.name, schema, options);
  const own: Record<string, unknown> = {};
  for (const option of options) {
    const text = given[option.flag];
    if (option.isInputFile && text === '') throw noFile(option);
    if (text !== undefined && !isEmptyList(text)) own[option.key] = parseOption(schema, option, text);
  }
  const values: Record<string, unknown> = { ...like.values, ...own };
  for (const option of options) if (option.isRequired && values[option.key] === undefined) throw missing(option);
  assertTogether(schema, values);

  const inputs = options.filter(({ isInputFile }) => isInputFile).flatMap(({ key }) => textsIn(values[key]));
  const extension = variant?.extension ?? (await extensionFor(schema, given, inputs[0]));
  const stem = variant === undefined ? pipeline.name : stemOf(inputs[0] ?? variant.name);
  const output = outputName(optionalText(given, 'output'), stem, extension);
  if (variant !== undefined) assertLatentsName('--output', output);
  const loras = given.lora === undefined ? like.loras : parseLoras(given.lora);
  const namesIn = (settings: Readonly<Record<string, unknown>>) =>
    options.flatMap(({ key, mayNameFiles }) => (mayNameFiles ? textsIn(settings[key]) : []));
  const read = [...namesIn(values), ...loras.map(({ path }) => path)];
  const model = optionalText(given, 'model') ?? like.model ?? defaultModel;
  // The clip may be a stranger's.
  const taken = Object.fromEntries(Object.entries(like.values).filter(([key]) => !(key in own)));
  const takenPaths = [...namesIn(taken), ...(given.lora === undefined ? like.loras.map(({ path }) => path) : [])];
  for (const path of filesIn(takenPaths)) note(`${path} is read because ${given.like} says so.`);
  if (given.model === undefined && model !== defaultModel) note(`The model is ${model} because ${given.like} says so.`);
  assertOtherFile('--output', output, read);
  const saveLatents = optionalText(given, 'save-latents');
  if (saveLatents !== undefined) {
    assertLatentsName('--save-latents', saveLatents);
    assertOtherFile('--save-latents', saveLatents, read);
    if (resolve(saveLatents) === resolve(output)) {
      throw new InvalidOptionError(expected('--save-latents', 'another file than the output', saveLatents));
    }
  }

  const report = await runPipeline({
    pipeline,
    options: values,
    model,
    device: optionalText(given, 'device') ?? 'auto',
    memory: optionalText(given, 'memory') ?? 'balanced',
    loras,
    loraPartial: given['lora-partial'] === true || (given.lora === undefined && like.loraPartial),
    output,
    saveLatents,
    quiet: given.quiet === true,
  });
  print(given.json === true ? report : describeRun(report));
}

/** yargs makes an empty text of `-`. */
function noFile(option: OptionFlag): InvalidOptionError {
  const advice = 'What comes through a pipe is written to a file first.';
  return new InvalidOptionError(expected(displayName(option), 'the name of a file', 'none or -', advice));
}

/** Returns the ending of an output that has no name: a picture stays one where the clip is as long as its source. */
async function extensionFor(schema: z.ZodObject, given: Arguments, input: string | undefined): Promise<string> {
  if (given.output !== undefined || input === undefined || !('maxFrames' in schema.shape)) return '.mp4';
  // A look at the file's first bytes: what it holds is asked when the run begins.
  return (await listFrameFolder(input)) === undefined && (await detectMediaKind(input)) === 'still' ? '.png' : '.mp4';
}

function missing(option: OptionFlag): InvalidOptionError {
  const what = typeof option.positional === 'number' ? `a ${option.flag}` : displayName(option);
  return new InvalidOptionError(`Expected ${what}, got none: ${option.description}.`);
}

/** Throws InvalidOptionError for options that are right one by one and don't go together. */
function assertTogether(schema: z.ZodObject, values: Readonly<Record<string, unknown>>): void {
  const issue = schema.safeParse(values).error?.issues[0];
  if (issue !== undefined) throw new InvalidOptionError(`${issue.message}.`);
}

/** Returns every text in a value, however deep. */
function textsIn(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(textsIn) : [];
}

function isEmptyList(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0;
}

function optionalText(given: Arguments, flag: string): string | undefined {
  return given[flag] === undefined ? undefined : textOf(given, flag);
}

function textOf(given: Arguments, flag: string): string {
  const value = given[flag];
  if (typeof value === 'string') return value;
  throw new InvalidOptionError(expected(`--${flag}`, 'given once', value));
}

/** `encode`: the latents of a clip in a file, for `decode`. */
export const encodeVariant: CommandVariant = {
  name: 'encode',
  summary: 'Save the latents of a clip',
  extension: latentsExtension,
};
