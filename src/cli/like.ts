// --like: prompt, seed and settings of a clip that reelspace wrote.
import { extname } from 'node:path';
import { z } from 'zod';
import { readLatentsSettings } from '../diffusion/latents-file.js';
import { samplingOptions } from '../diffusion/options.js';
import { latentsExtension } from '../diffusion/save.js';
import { expected, MediaError } from '../errors.js';
import { readSettings } from '../media/metadata.js';
import type { LoraChoice } from '../networks/model.js';
import { checkOption, displayName, type OptionFlag } from './option-flags.js';

/** What a clip's settings give to a run. */
export interface LikeSettings {
  readonly model: string | undefined;
  readonly loras: readonly LoraChoice[];
  readonly loraPartial: boolean;
  readonly values: Readonly<Record<string, unknown>>;
}

const lorasSchema = z.array(z.object({ path: z.string(), scale: z.number() }));

/**
 * Returns the options of a pipeline as they stand in a clip that reelspace wrote: all of them when the same pipeline made
 * it, otherwise only what does not depend on the other clip's size and length: prompt and sampling.
 * Throws MediaError when the file has none, and InvalidOptionError when one does not fit.
 */
export async function readLike(
  path: string,
  pipeline: string,
  schema: z.ZodObject,
  options: readonly OptionFlag[],
): Promise<LikeSettings> {
  const settings =
    extname(path) === latentsExtension
      ? await readLatentsSettings(path)
      : ((await readSettings(path)) as { reelspace?: unknown } | null)?.reelspace;
  if (typeof settings !== 'object' || settings === null) {
    throw new MediaError(
      `Expected ${path} to carry the settings of a reelspace run, got other ones. Name a file that reelspace wrote.`,
    );
  }
  const found = settings as Record<string, unknown>;
  const shared = ['prompt', ...Object.keys(samplingOptions)];
  const values: Record<string, unknown> = {};
  for (const option of options) {
    const value = found[option.key];
    if (value === undefined || (found.pipeline !== pipeline && !shared.includes(option.key))) continue;
    values[option.key] = checkOption(schema, option, value, `${displayName(option)} in ${path}`);
  }
  const loras = lorasSchema.safeParse(found.loras ?? []);
  if (!loras.success) throw new MediaError(expected(`loras in ${path}`, 'files with their scales', found.loras));
  return {
    model: typeof found.model === 'string' ? found.model : undefined,
    loras: loras.data,
    loraPartial: found.loraPartial === true,
    values,
  };
}
