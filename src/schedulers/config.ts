// Reads a scheduler_config.json of diffusers: unknown keys are ignored as there, what would change numbers is not.
import { z } from 'zod';
import { BundleError, expected } from '../errors.js';
import type { PredictionType } from './scheduler.js';

/** A yes or no that is no when absent or null. */
export function flag(whenAbsent = false) {
  return z
    .boolean()
    .nullish()
    .transform((value) => value ?? whenAbsent);
}

/** An option that is not implemented: absent, null, or one of the values that leave the numbers alone. */
export function unsupported(...harmless: readonly unknown[]) {
  const shown = harmless.map(String).join(' or ') || 'absent';
  return z
    .unknown()
    .refine((value) => value === undefined || value === null || harmless.includes(value), {
      error: `${shown} (nothing else is implemented)`,
    })
    .optional();
}

/** Returns the field for what a network predicts; reads diffusers' `flow_prediction` as `flow`. */
export function predictionField<const T extends PredictionType>(types: readonly T[], whenAbsent: T) {
  return z
    .preprocess(
      (value) => (value === 'flow_prediction' ? 'flow' : value),
      z.enum(types as readonly [T, ...T[]]).optional(),
    )
    .transform((value): T => (value as T | undefined) ?? whenAbsent);
}

/** Returns the config as the schema reads it. Throws BundleError naming the first field that is wrong. */
export function readConfig<S extends z.ZodType>(className: string, schema: S, config: unknown): z.infer<S> {
  const result = schema.safeParse(config);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  if (issue === undefined) throw new BundleError(`The config of ${className} can't be read.`);
  throw new BundleError(
    expected(
      `${issue.path.join('.') || 'config'} of ${className}`,
      ruleOf(issue),
      valueAt(config, issue.path),
      configAdvice,
    ),
  );
}

const configAdvice = 'Look at scheduler_config.json.';

/** Throws BundleError unless at most one of the flags is set. */
export function assertAtMostOne(className: string, flags: Readonly<Record<string, boolean>>): void {
  const set = Object.keys(flags).filter((name) => flags[name]);
  if (set.length > 1)
    throw new BundleError(expected(`options of ${className}`, 'one of these at most', set, configAdvice));
}

/** Throws BundleError saying that two settings of a config can't be had together. */
export function refuseTogether(className: string, first: string, second: string): never {
  throw new BundleError(`${className} can't combine ${first} with ${second}. ${configAdvice}`);
}

function ruleOf(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_type') return `of type ${issue.expected}`;
  if (issue.code === 'invalid_value') return `one of ${issue.values.join(', ')}`;
  if (issue.code === 'too_small') return `${issue.inclusive ? 'at least' : 'above'} ${issue.minimum}`;
  if (issue.code === 'too_big') return `${issue.inclusive ? 'at most' : 'below'} ${issue.maximum}`;
  return issue.message;
}

function valueAt(config: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce((value: unknown, key) => (value as Record<PropertyKey, unknown> | undefined)?.[key], config);
}
