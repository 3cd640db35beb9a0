// Reads a folder of pictures' networks as optimum exports them from diffusers: no manifest, so one is made of its configs.
import { readdir } from 'node:fs/promises';
import { basename, join, posix, resolve } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { z } from 'zod';
import { BundleError, expected } from '../errors.js';
import { bundleFiles } from './bundle-layout.js';
import { type BundleFile, count, type Manifest, manifestFormatVersion } from './manifest.js';
import type { SecondTextEncoder } from './optimum-text.js';
import { readPadId } from './tokenizer-files.js';

/** What the manifest of an optimum folder has no field for, and its graphs' inputs and outputs need. */
export interface OptimumLayout {
  /** What the VAE's latents are multiplied by to be of unit variance. */
  readonly scalingFactor: number;
  /** Pixels a latent position, in height and in width. */
  readonly spatialCompression: number;
  /** Numbers that the UNet is told the guidance scale by, where it is. */
  readonly guidanceWidth?: number | undefined;
  readonly secondTextEncoder?: SecondTextEncoder | undefined;
}

/** How a folder's files are read; what fails throws BundleError. */
export interface FolderReader {
  /** Returns a JSON object that lies in the folder. */
  json(path: string): Promise<Record<string, unknown>>;
  /** Returns the size of a regular file that lies in the folder. */
  sizeBytes(path: string): Promise<number>;
}

/** Places of optimum's layout. */
export const optimumFiles = { index: 'model_index.json', denoiser: 'unet/model.onnx' } as const;

const textEncoderPath = 'text_encoder/model.onnx';
const secondTextEncoderPath = 'text_encoder_2/model.onnx';
const encoderPath = 'vae_encoder/model.onnx';
const decoderPath = 'vae_decoder/model.onnx';

/** Components whose graphs have no place in a run. */
const leftOut: readonly string[] = ['safety_checker', 'feature_extractor'];
const components: readonly string[] = ['scheduler', 'text_encoder', 'tokenizer', 'unet', 'vae'];
/** Where a pipeline has a second text encoder. */
const secondComponents: readonly string[] = ['text_encoder_2', 'tokenizer_2'];

/** Channels of each level; from one to the next, pictures are halved. */
const levels = z.array(count).min(1).max(8);
const unetSchema = z.object({
  in_channels: count,
  out_channels: count,
  sample_size: count,
  block_out_channels: levels,
  addition_embed_type: z.literal('text_time').nullish(),
  time_cond_proj_dim: z.int().min(4).nullish(),
});
const vaeSchema = z.object({
  scaling_factor: z.number().positive(),
  block_out_channels: levels,
  latent_channels: count,
  mid_block_add_attention: z.boolean().optional(),
  shift_factor: z.null().optional(),
  latents_mean: z.null().optional(),
  latents_std: z.null().optional(),
});
const textEncoderSchema = z.object({ max_position_embeddings: count, num_hidden_layers: count });

/** What diffusers' pipelines of pictures do unless they are told otherwise. */
const defaults = { steps: 50, guidanceScale: 7.5, strength: 0.8, negativePrompt: '' };
/** The same for those with two text encoders. */
const doubleDefaults = { ...defaults, guidanceScale: 5 };
/** Of models that are told the guidance scale (latent consistency models, arXiv 2310.04378). */
const distilledDefaults = { steps: 4, guidanceScale: 8.5 };
/** Of models that make pictures in a few steps unguided (arXiv 2311.17042), which are known by their names. */
const turboDefaults = { steps: 4, guidanceScale: 0 };
const frameRate = 8;
/** Maps as large as the VAE's widest that it holds at once, as models/export has measured it. */
const liveMaps = 5;

/** Returns the manifest that stands for a folder, and how its latents are scaled. Throws BundleError. */
export async function readOptimumFolder(
  folder: string,
  read: FolderReader,
): Promise<{ manifest: Manifest; layout: OptimumLayout }> {
  const index = await read.json(optimumFiles.index);
  const isDouble = assertComponents(folder, index);
  const config = async <T>(path: string, schema: z.ZodType<T>): Promise<T> => {
    const result = schema.safeParse(await read.json(path));
    if (result.success) return result.data;
    const issue = result.error.issues[0];
    throw new BundleError(
      `Expected ${join(folder, path)} to be the config of a network of pictures, but ${issue?.path.join('.')}: ${issue?.message}. ` +
        'Export it again with optimum.',
    );
  };
  const unet = await config('unet/config.json', unetSchema);
  const vae = await config('vae_decoder/config.json', vaeSchema);
  const textEncoder = await config('text_encoder/config.json', textEncoderSchema);
  const secondTextEncoder = isDouble
    ? {
        path: secondTextEncoderPath,
        padId: await secondPadding(folder, read),
        embedsOutputs: [
          beforeLast(textEncoder),
          beforeLast(await config('text_encoder_2/config.json', textEncoderSchema)),
        ] as const,
      }
    : undefined;
  if (isDouble !== (unet.addition_embed_type === 'text_time')) {
    const rule = isDouble ? 'that takes pooled text' : 'that takes no pooled text';
    throw new BundleError(expected('unet/config.json', `of a network ${rule}`, unet.addition_embed_type ?? 'none'));
  }
  const channels = vae.latent_channels;
  const seesPicture = unet.in_channels === 2 * channels + 1;
  if (unet.out_channels !== channels || (unet.in_channels !== channels && !seesPicture)) {
    const rule = `${channels} or ${2 * channels + 1} channels of latents, mask and masked picture`;
    throw new BundleError(expected('unet/config.json', `of a network that takes ${rule}`, unet.in_channels));
  }
  const guidanceWidth = unet.time_cond_proj_dim ?? undefined;
  const spatialCompression = 2 ** (vae.block_out_channels.length - 1);
  const side = unet.sample_size * spatialCompression;
  const [outer = 1, inner = outer] = vae.block_out_channels;
  const half = (path: string, channels: number) => ({
    path,
    latentFrames: 1,
    work: {
      numbersPerPixel: liveMaps * channels,
      attentionDivisor: vae.mid_block_add_attention === false ? undefined : spatialCompression,
    },
    states: [],
  });
  const manifest: Manifest = {
    formatVersion: manifestFormatVersion,
    name: nameOf(folder),
    summary: `${index._class_name}, exported by optimum`,
    license: 'unknown',
    source: typeof index._name_or_path === 'string' ? index._name_or_path : basename(folder),
    tasks: seesPicture ? ['inpaint'] : ['text', 'restyle', 'inpaint'],
    latent: {
      channels,
      temporalCompression: 1,
      spatialCompression,
      // The graphs halve and double the latents without looking at what is left over.
      sizeMultiple: spatialCompression * 2 ** (unet.block_out_channels.length - 1),
    },
    defaults: {
      ...(isDouble ? doubleDefaults : defaults),
      ...(guidanceWidth === undefined ? {} : distilledDefaults),
      ...(isTurbo(folder, index) ? turboDefaults : {}),
      ...{ width: side, height: side, numFrames: 1, frameRate },
    },
    window: { latentFrames: 1, overlap: 0 },
    graphs: {
      textEncoder: {
        path: textEncoderPath,
        maxTokens: textEncoder.max_position_embeddings,
        padding: 'max',
        unaskedNegative: index.force_zeros_for_empty_prompt === true ? 'zeros' : undefined,
      },
      denoiser: {
        path: optimumFiles.denoiser,
        inputs: [
          'prompt_embeds',
          ...(isDouble ? (['pooled_embeds'] as const) : []),
          ...(guidanceWidth === undefined ? [] : (['guidance'] as const)),
          ...(seesPicture ? (['condition_latents', 'condition_mask'] as const) : []),
        ],
        ...(seesPicture ? { conditionMask: ['keep'], conditionFrom: 'pixels', knownFrames: 'told' } : {}),
      },
      vaeEncoder: half(encoderPath, outer),
      // The last level begins with the channels of the one before.
      vaeDecoder: half(decoderPath, inner),
    },
    files: await listFiles(folder, isDouble, read),
  };
  const layout = { scalingFactor: vae.scaling_factor, spatialCompression, guidanceWidth, secondTextEncoder };
  return { manifest, layout };
}

function isTurbo(folder: string, { _name_or_path: from }: Readonly<Record<string, unknown>>): boolean {
  return [basename(resolve(folder)), from].some((place) => /\bturbo\b/i.test(String(place).replaceAll('_', '-')));
}

/** Returns the output of a text encoder that its layer before the last is. */
function beforeLast({ num_hidden_layers: layers }: z.infer<typeof textEncoderSchema>): string {
  return `hidden_states.${layers - 1}`;
}

/** Returns the token that fills the second encoder's prompts up. Throws unless both read text alike otherwise. */
async function secondPadding(folder: string, read: FolderReader): Promise<number> {
  const [first, second] = await Promise.all(
    ['tokenizer', 'tokenizer_2'].map((tokenizer) => read.json(`${tokenizer}/vocab.json`)),
  );
  if (!isDeepStrictEqual(first, second)) {
    throw new BundleError(
      `Expected tokenizer and tokenizer_2 of ${folder} to have one vocabulary, got two. Export the pipeline with models/export.`,
    );
  }
  return readPadId(await read.json('tokenizer_2/special_tokens_map.json'), second ?? {});
}

/** Returns whether there is a second text encoder. */
function assertComponents(folder: string, index: Readonly<Record<string, unknown>>): boolean {
  const present = Object.entries(index)
    .filter(([, entry]) => Array.isArray(entry) && typeof entry[1] === 'string')
    .map(([name]) => name);
  const isDouble = secondComponents.some((name) => present.includes(name));
  const wanted = isDouble ? [...components, ...secondComponents] : components;
  const missing = wanted.filter((name) => !present.includes(name));
  const extra = present.filter((name) => !wanted.includes(name) && !leftOut.includes(name));
  if (missing.length === 0 && extra.length === 0) return isDouble;
  const problem = missing.length > 0 ? `it lacks ${missing.join(', ')}` : `it has ${extra.join(', ')} too`;
  throw new BundleError(
    `Expected ${join(folder, optimumFiles.index)} to list ${components.join(', ')}, but ${problem}. ` +
      'Export the pipeline from diffusers with models/export.',
  );
}

/** Returns every file of the folders that a run reads. */
async function listFiles(folder: string, isDouble: boolean, read: FolderReader): Promise<BundleFile[]> {
  const files: BundleFile[] = [];
  const second = isDouble ? [secondTextEncoderPath] : [];
  const graphs = [textEncoderPath, ...second, optimumFiles.denoiser, encoderPath, decoderPath];
  const needed = [bundleFiles.schedulerConfig, ...graphs];
  for (const part of [
    'tokenizer',
    ...(isDouble ? ['tokenizer_2'] : []),
    ...needed.map((path) => posix.dirname(path)),
  ]) {
    const names = await readdir(join(folder, part)).catch(() => {
      throw new BundleError(`The folder ${folder} lacks ${part}. Export the pipeline again.`);
    });
    for (const name of names.toSorted()) {
      const path = posix.join(part, name);
      files.push({ path, sizeBytes: await read.sizeBytes(path) });
    }
  }
  const missing = needed.find((path) => !files.some((file) => file.path === path));
  if (missing !== undefined) {
    throw new BundleError(`The folder ${folder} lacks ${missing}. Export the pipeline again with optimum.`);
  }
  return files;
}

/** Returns the folder's name in the letters that names of models have. */
function nameOf(folder: string): string {
  const name = basename(folder)
    .toLowerCase()
    .replace(/[^a-z0-9.-]+/g, '-')
    .replace(/^[.-]+/, '');
  return name === '' ? 'model' : name.slice(0, 64);
}
