// The contract of a pipeline: a name, a line about it, one options schema, and a run that returns a clip.
import type { z } from 'zod';
import { InvalidOptionError } from '../errors.js';
import type { Clip } from '../media/clip.js';
import type { Model } from '../networks/model.js';
import type { RunContext } from './progress.js';

/** A workflow. Its schema alone makes the CLI's flags, the HTTP validation and the reference docs. */
export interface Pipeline<Schema extends z.ZodObject = z.ZodObject> {
  /** Verb on the command line. */
  readonly name: string;
  readonly summary: string;
  readonly options: Schema;
  /** Returns the clip; its frames are made while they are read. Throws InvalidOptionError for options that don't fit. */
  run(model: Model, options: z.input<Schema>, context?: RunContext): Promise<Clip>;
}

/** Returns a pipeline whose options are parsed before `run` sees them. */
export function definePipeline<Schema extends z.ZodObject>(definition: {
  name: string;
  summary: string;
  options: Schema;
  run(model: Model, options: z.output<Schema>, context: RunContext): Promise<Clip>;
}): Pipeline<Schema> {
  return {
    ...definition,
    run: async (model, options, context = {}) =>
      definition.run(model, parseOptions(definition.options, options), context),
  };
}

function parseOptions<Schema extends z.ZodObject>(schema: Schema, options: unknown): z.output<Schema> {
  const parsed = schema.strict().safeParse(options);
  if (parsed.success) return parsed.data as z.output<Schema>;
  const lines = parsed.error.issues.map((issue) => {
    const name = issue.path.join('.');
    return name === '' ? issue.message : `${name}: ${issue.message}`;
  });
  throw new InvalidOptionError(`${lines.join('; ')}.`, { cause: parsed.error });
}
