// reelspace.json: everything about a model that the runtime has to know, so that no code is written for a family.
import { z } from 'zod';

/** The manifest format that this version reads. A bundle with a higher one is refused. */
export const manifestFormatVersion = 1;

/** Far above what models have, and low enough to be worked with. */
export const count = z.int().min(1).max(100_000);
const compression = z.int().min(1).max(256);
const relativePath = z
  .string()
  .regex(/^(?!\/)(?!.*(?:^|\/)\.\.(?:\/|$))[\w.\-/]+$/, 'Expected a relative path inside the bundle')
  .max(256);

/** One causal state of a VAE graph: the latent-rate frames kept before one temporal convolution, zeros at the start. */
const stateSchema = z.object({
  channels: count,
  /** Frames kept, at the latent frame rate. */
  frames: count,
  /** Height and width are those of the pixels divided by this. */
  spatialDivisor: count,
});

/** The graph that the CPU runs in place of the one at `path`, whose results are a little off: the same network in whole numbers. */
const onCpuSchema = relativePath.optional();

/** A VAE graph that takes a clip chunk by chunk: inputs `state_in_<i>`, outputs `state_out_<i>`. */
const streamingGraphSchema = z.object({
  path: relativePath,
  onCpu: onCpuSchema,
  /** Latent frames that one call takes, but for a clip's last ones; left out, any number. */
  latentFrames: count.optional(),
  /**
   * The graph that a clip's first chunk goes through, where that is another one: it takes no states, gives those of the
   * next call, and its first latent frame stands for one frame. Left out, the clip's first frame is repeated to fill one.
   */
  first: z.object({ path: relativePath, latentFrames: count }).optional(),
  /** The graph takes a whole clip at once, whose first latent frame stands for one frame, and has no states. */
  whole: z.boolean().optional(),
  /**
   * A clip goes through in tiles of so many latent frames, each a whole clip to the graph, which begin `step` latent frames after one
   * another. A tile's first frame is dropped but in the clip's first tile, and what it then shares with the tile before is faded over.
   */
  tiles: z.object({ latentFrames: count, step: count }).optional(),
  /** What one latent frame is worked on with, beside states; left out, an estimate by the states. */
  work: z
    .object({
      /** Numbers held at once for each pixel. */
      numbersPerPixel: z.number().positive(),
      /** Where every place of a frame attends to every other: what its height and width in pixels are divided by there. */
      attentionDivisor: count.optional(),
    })
    .optional(),
  states: z.array(stateSchema).max(512),
});

/** What control nets add at one place: the latents' height and width are divided there by that, and rounded up. */
const residualSchema = z.object({ channels: count, spatialDivisor: count });

const moduleName = z.string().regex(/^(?:[\w.]|\{n\})+$/);

/**
 * Other names of a graph's modules, which LoRA files use, and the names on its weights. {n} stands for a number, and both
 * may be the beginning of a name. Several names: the rows of their weights, one after the other, are one module there.
 */
const otherNamesSchema = z.record(moduleName, z.union([moduleName, z.array(moduleName).min(1)])).optional();

/** A graph that reads prompts, and how many tokens it takes. */
const textEncoderSchema = z.object({ path: relativePath, maxTokens: count, padding: z.enum(['longest', 'max']) });

/** What matrices may be stored as. */
export const weightTypes = ['fp16', 'bf16', 'int8', 'int4'] as const;

/** What a denoiser graph may be given, beyond `latents` and `timestep`. */
export const denoiserInputs = [
  'prompt_embeds',
  'prompt_mask',
  'pooled_embeds',
  'guidance',
  'image_embeds',
  'frame_rate',
  'frame_starts',
  'condition_latents',
  'condition_mask',
  'control_latents',
  'control_scale',
  'reference',
] as const;

/**
 * What the channels of `condition_mask` say of a latent position. `keep-frames` stands for temporalCompression channels,
 * one for each pixel frame of a latent frame; the first latent frame's are all the first frame's. `keep-pixels` stands for
 * spatialCompression² channels, one for each pixel of a latent position, row by row, in the pixel frame that is nearest to
 * the latent frame's place in the clip.
 */
export const conditionMaskChannels = ['keep', 'keep-frames', 'keep-pixels', 'follow'] as const;

/** What a picture shows that says what is to be made. `edges` are found in any picture, the others are given as pictures. */
const controlName = z.string().regex(/^[a-z0-9-]+$/);

/** What a bundle may be able to do; each is a way to fill the denoiser's inputs. */
export const tasks = [
  'text',
  'first-frame',
  'last-frame',
  'keyframes',
  'inpaint',
  'restyle',
  'control',
  'reference',
] as const;

/** Timesteps of a whole noise schedule, in every family. */
const trainTimesteps = 1000;

export const manifestSchema = z.object({
  formatVersion: z.literal(manifestFormatVersion),
  name: z.string().regex(/^[a-z0-9][a-z0-9.-]{0,63}$/),
  summary: z.string().max(500),
  license: z.string().max(100),
  source: z.string().max(500),
  tasks: z.array(z.enum(tasks)).min(1),
  /**
   * What prompts can name, by kind ("things": ["fox", ...]), for people to look up. The tokenizer then has a token for each word that
   * the model was taught, so that one in several tokens is a word that it was not.
   */
  vocabulary: z
    .record(z.string().regex(/^[a-z][a-z ]{0,31}$/), z.array(z.string().min(1).max(64)).min(1).max(10_000))
    .optional(),
  latent: z.object({
    channels: count,
    /** Pixel frames a latent frame; a clip of T frames has (T - 1) / temporalCompression + 1 latent frames. */
    temporalCompression: compression,
    /** Pixels a latent position, in height and in width. */
    spatialCompression: compression,
    /** Width and height in pixels must be multiples of this. */
    sizeMultiple: count,
    /** Clips are as large as `defaults` says, and nothing else. Default false. */
    fixedSize: z.boolean().optional(),
    /** A clip has one frame more than a multiple of this. Default: temporalCompression. */
    frameStep: count.optional(),
    /** Along which axis a run's noise is drawn first. Default: channels. */
    noiseOrder: z.enum(['channels', 'frames']).optional(),
    /** Linear map from latents [C] to RGB in [-1, 1], row-major [C][3], and its bias [3]: cheap previews. */
    rgb: z.object({ weights: z.array(z.array(z.number()).length(3)), bias: z.array(z.number()).length(3) }).optional(),
  }),
  defaults: z.object({
    width: count,
    height: count,
    numFrames: z.int().min(1).max(1_000_000),
    frameRate: z.number().positive().max(240),
    steps: z.int().min(1).max(trainTimesteps),
    guidanceScale: z.number().min(0),
    /** The same where a source clip is followed, which needs less of it. Default: guidanceScale. */
    sourceGuidanceScale: z.number().min(0).optional(),
    negativePrompt: z.string(),
    strength: z.number().gt(0).max(1),
    /**
     * What the scheduler is given to start its noise levels from: 'linear', 1 - i/steps; 'linear-quadratic', levels that fall
     * slowly over the first half of the steps. Default: its own.
     */
    sigmas: z.enum(['linear', 'linear-quadratic']).optional(),
  }),
  /** Latent frames that the denoiser takes at a time, and how many of them neighbouring windows share. */
  window: z.object({
    latentFrames: count,
    overlap: z.int().min(0),
    /** A window is filled up to a multiple of this in front, and what was put there is dropped in the end. Default 1. */
    multiple: count.optional(),
  }),
  graphs: z.object({
    textEncoder: textEncoderSchema.extend({
      otherNames: otherNamesSchema,
      /** Modules of the model that the graph has no use for: what LoRA files hold for them is passed over. */
      unusedModules: z.array(moduleName).optional(),
      /** What the graph is given beyond tokens: `image_embeds` of the picture that a prompt is read with, zeros for none. */
      inputs: z.array(z.literal('image_embeds')).optional(),
      /** What stands for a negative prompt that nobody asked for. Default: the embeddings of `defaults.negativePrompt`. */
      unaskedNegative: z.literal('zeros').optional(),
    }),
    /** Gives `pooled_embeds` in place of `textEncoder`, with the tokenizer in tokenizer_2. */
    textEncoder2: textEncoderSchema.optional(),
    imageEncoder: z.object({ path: relativePath }).optional(),
    denoiser: z.object({
      path: relativePath,
      onCpu: onCpuSchema,
      inputs: z.array(z.enum(denoiserInputs)),
      /** Meaning of the channels of `condition_mask`, in order. */
      conditionMask: z.array(z.enum(conditionMaskChannels)).optional(),
      /**
       * What `condition_latents` code: known frames alone, with zeros elsewhere in the latents (the default), or the whole
       * clip, whose unknown pixels are mid-grey.
       */
      conditionFrom: z.enum(['latents', 'pixels']).optional(),
      /**
       * 'kept': known frames are put back into the latents at every step (the default); 'told': the denoiser is only told of
       * them; 'held': they are latents that steps leave alone until the noise is down to a level of theirs, and pictures of
       * later frames lie beside the clip.
       */
      knownFrames: z.enum(['kept', 'told', 'held']).optional(),
      /** 'before': the picture that a clip starts from is a latent frame in front of it, made with it and left out once decoded. */
      knownPlace: z.literal('before').optional(),
      /** The share that the first known latent frame has in the noise that every frame starts from. Default 0. */
      knownShare: z.number().min(0).lt(1).optional(),
      /** Noise that the denoiser is shown on what is held exactly, as a share, times the square of the noise level. Default 0. */
      knownNoise: z.number().min(0).optional(),
      otherNames: otherNamesSchema,
      /** Side in pixels of the picture [B, 4, S, S] that the graph takes as `reference` of what the clip shows: red, green and blue
       * multiplied by opacity, and opacity, in [0, 1]; zeros for none. */
      referenceSide: count.optional(),
      /** What a control clip may show, such as `depth`; the graph takes one as `control_latents`. */
      controls: z.array(controlName).min(1).optional(),
      /** Inputs `residual_<i>` [B·t, channels, h, w], a row a frame: what control nets add to it. */
      residuals: z.array(residualSchema).min(1).max(64).optional(),
    }),
    /** Networks that read off a picture what is to be made; `kind` says what their pictures show. */
    controlNets: z
      .array(z.object({ kind: controlName, path: relativePath }))
      .min(1)
      .optional(),
    /** Takes over from `denoiser` below that share of the noise schedule; its inputs are the same. */
    denoiser2: z
      .object({
        path: relativePath,
        below: z.number().gt(0).lt(1),
        /** Default: that of `defaults`. */
        guidanceScale: z.number().min(0).optional(),
      })
      .optional(),
    vaeEncoder: streamingGraphSchema,
    vaeDecoder: streamingGraphSchema,
  }),
  /** The one device that the graphs were written for: others may give wrong numbers. Default: any. */
  device: z.literal('cpu').optional(),
  /** How matrices are stored where that isn't float32 alone. */
  weights: z
    .object({
      dtype: z.enum(weightTypes),
      /** By the path of a graph: by which share of its largest value (or of 1) it was off its float32 form at export. */
      differences: z.record(relativePath, z.number().min(0)),
    })
    .optional(),
  files: z
    .array(
      z.object({
        path: relativePath,
        sizeBytes: z.int().min(0),
        sha256: z.string().regex(/^[0-9a-f]{64}$/),
      }),
    )
    .min(1),
});

/** A file of a model's folder. */
export interface BundleFile {
  /** Path inside the folder. */
  readonly path: string;
  readonly sizeBytes: number;
  /** Undefined where the folder came without hashes. */
  readonly sha256?: string | undefined;
}

/** A bundle's manifest, checked; or what stands for one. */
export type Manifest = Omit<z.infer<typeof manifestSchema>, 'files'> & { readonly files: readonly BundleFile[] };

/** Returns what a clip has one frame more than a multiple of. */
export function frameStep({ latent }: Manifest): number {
  return latent.frameStep ?? latent.temporalCompression;
}

/** Returns whether prompts are read with a picture. */
export function readsPictures({ graphs }: Pick<Manifest, 'graphs'>): boolean {
  return graphs.textEncoder.inputs?.includes('image_embeds') === true;
}

/** Returns whether a call at that timestep is the second denoiser's. */
export function isSecondDenoisers({ graphs }: Manifest, timestep: number): boolean {
  return graphs.denoiser2 !== undefined && timestep < graphs.denoiser2.below * trainTimesteps;
}

/** Returns how many channels `condition_mask` has. */
export function conditionMaskLength({ latent, graphs }: Manifest): number {
  const meanings = graphs.denoiser.conditionMask ?? [];
  return meanings.reduce((sum, meaning) => sum + conditionChannels(latent, meaning), 0);
}

/** Returns how many channels of `condition_mask` that meaning stands for. */
export function conditionChannels(latent: Manifest['latent'], meaning: ConditionMeaning): number {
  if (meaning === 'keep-frames') return latent.temporalCompression;
  return meaning === 'keep-pixels' ? latent.spatialCompression ** 2 : 1;
}

export type TextEncoderGraph = z.infer<typeof textEncoderSchema>;
export type StateSpec = z.infer<typeof stateSchema>;
export type StreamingGraph = z.infer<typeof streamingGraphSchema>;
export type Task = (typeof tasks)[number];
export type ConditionMeaning = (typeof conditionMaskChannels)[number];
