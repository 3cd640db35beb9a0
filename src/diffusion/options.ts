// The options that pipelines share. One schema makes the CLI's flags, the HTTP validation and the docs.
import { z } from 'zod';
import { maxSide } from '../media/frame.js';
import { schedulerNames } from '../schedulers/create-scheduler.js';

declare module 'zod' {
  interface GlobalMeta {
    /** The option's name on the command line, where it differs from the schema's. */
    flag?: string;
    /** Marks an argument that is given without a flag: its place, from 0 on; all further ones for 'rest'. */
    positional?: number | 'rest';
    /** Marks a path of a file that is read. */
    inputFile?: boolean;
    /** Marks texts that may name such files: with a NAME= before them, or several with commas between. */
    mayNameFiles?: boolean;
  }
}

const share = z.number().min(0).max(1);

export const prompt = z.string().max(100_000).describe('what the clip shows');

/** What a clip shows, also where that changes along it. Schemas with these take `checkPrompts` as a rule. */
export const promptOptions = {
  prompt: prompt.optional(),
  promptAt: z
    .record(z.string().regex(/^\d{1,7}$/), prompt)
    .optional()
    .meta({ flag: 'prompt-at' })
    .describe('what the clip shows at a frame, blended in between; once for each frame'),
};

/** Size in pixels; the model's multiple is checked when the model is known. */
export const sizeOptions = {
  width: z
    .int()
    .min(1)
    .max(maxSide)
    .optional()
    .describe('width in pixels (default: the model’s, or the source’s shape)'),
  height: z.int().min(1).max(maxSide).optional().describe('height in pixels'),
};

export const lengthOptions = {
  numFrames: z
    .int()
    .min(1)
    .max(1_000_000)
    .optional()
    .meta({ flag: 'frames' })
    .describe('number of frames, one more than a multiple of the model’s temporal compression'),
};

export const frameRateOptions = {
  frameRate: z.number().positive().max(240).optional().meta({ flag: 'fps' }).describe('frames per second'),
};

/** Which part of a source is read, and how. */
export const sourceOptions = {
  startSeconds: z.number().min(0).default(0).meta({ flag: 'start' }).describe('seconds into the source to start at'),
  maxFrames: z.int().min(1).optional().meta({ flag: 'frames' }).describe('frames at most (default: the whole source)'),
  ...sizeOptions,
  ...frameRateOptions,
};

export const samplingOptions = {
  negativePrompt: z
    .string()
    .max(100_000)
    .optional()
    .meta({ flag: 'negative' })
    .describe('what the clip should not show'),
  steps: z.int().min(1).max(1000).optional().describe('denoising steps'),
  guidanceScale: z
    .number()
    .min(0)
    .max(100)
    .optional()
    .meta({ flag: 'guidance' })
    .describe('how strongly the prompt is followed; 1 or less: no guidance'),
  guidanceScale2: z
    .number()
    .min(0)
    .max(100)
    .optional()
    .meta({ flag: 'guidance-2' })
    .describe('the same for the second of a model’s two denoisers (default: the model’s, or as --guidance)'),
  trueGuidanceScale: z
    .number()
    .min(0)
    .max(100)
    .optional()
    .meta({ flag: 'true-guidance' })
    .describe('for models that are told --guidance: how strongly the negative prompt is left behind, by a second pass'),
  guidanceRescale: share
    .default(0)
    .meta({ flag: 'guidance-rescale' })
    .describe('share by which guided contrast is brought back'),
  guidanceStart: share.default(0).meta({ flag: 'guidance-start' }).describe('share of the steps before guidance is on'),
  guidanceEnd: share.default(1).meta({ flag: 'guidance-end' }).describe('share of the steps after which it is off'),
  seed: z
    .int()
    .min(0)
    .max(Number.MAX_SAFE_INTEGER)
    .optional()
    .describe('seed of the noise (default: drawn, and reported)'),
  scheduler: z.enum(schedulerNames).optional().describe('sampler (default: the model’s own)'),
  windows: z
    .enum(['stream', 'joint'])
    .default('stream')
    .describe('long clips: one window after the other in bounded memory, or all blended at every step'),
  cache: z
    .union([z.enum(['off', 'auto']), share])
    .default('off')
    .describe('leaves out network calls while the answer would move by less than this share of itself'),
};

/** What a clip is made after, beside its prompt, by models that take it. */
export const controlOptions = {
  control: z
    .union([z.string().min(1), z.array(z.string().min(1)).min(1).max(8)])
    .optional()
    .meta({ mayNameFiles: true })
    .describe(
      'a clip, picture or folder of pictures that says what is made, NAME=clip[:scale[:start:end]]; NAME says what it shows: edges (found in it), depth, pose, ...; several times',
    ),
};

export const referenceOptions = {
  reference: z
    .string()
    .min(1)
    .optional()
    .meta({ mayNameFiles: true })
    .describe(
      'a picture of what the clip shows, without background where it has transparency; several for models that take them, separated by commas',
    ),
};

export const vaeOptions = {
  tileSize: z
    .int()
    .min(64)
    .max(maxSide)
    .multipleOf(8)
    .optional()
    .meta({ flag: 'tile' })
    .describe('side in pixels of the tiles that frames are cut into (default: whole frames while they fit memory)'),
};

/** Options of a run's samplers, as the shared schemas leave them. */
export type SamplingOptions = z.output<z.ZodObject<typeof samplingOptions>>;
