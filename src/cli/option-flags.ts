// A pipeline's options as flags and arguments: everything is read off the schema.
import { z } from 'zod';
import { expected, InvalidOptionError } from '../errors.js';

/** One option of a schema, as the command line shows it. */
export interface OptionFlag {
  /** Name in the schema. */
  readonly key: string;
  /** Name on the command line, without dashes. */
  readonly flag: string;
  readonly type: 'string' | 'number' | 'integer' | 'string or number' | 'texts' | 'texts by number';
  /** Place among the arguments, or undefined for a flag. */
  readonly positional: number | 'rest' | undefined;
  readonly isRequired: boolean;
  readonly isInputFile: boolean;
  /** Whether its texts may name files that are read. */
  readonly mayNameFiles: boolean;
  readonly choices: readonly string[] | undefined;
  readonly defaultValue: unknown;
  readonly description: string;
  /** What its values must be, in words. */
  readonly rule: string;
}

interface PropertySchema {
  type?: string;
  enum?: string[];
  default?: unknown;
  description?: string;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  multipleOf?: number;
  minLength?: number;
  maxLength?: number;
  items?: PropertySchema;
  minItems?: number;
  maxItems?: number;
  anyOf?: PropertySchema[];
  flag?: string;
  positional?: number | 'rest';
  inputFile?: boolean;
  mayNameFiles?: boolean;
}

/** Returns the options of a pipeline in the order of its schema. */
export function optionFlags(schema: z.ZodObject): OptionFlag[] {
  const { properties = {}, required = [] } = z.toJSONSchema(schema, { io: 'input' });
  return Object.entries(properties).map(([key, value]) => {
    const property = value as PropertySchema;
    return {
      key,
      flag: property.flag ?? kebabCase(key),
      type: typeOf(property),
      positional: property.positional,
      isRequired: required.includes(key),
      isInputFile: property.inputFile ?? false,
      mayNameFiles: property.inputFile ?? property.mayNameFiles ?? false,
      choices: property.enum,
      defaultValue: property.default,
      description: property.description ?? '',
      rule: ruleOf(property),
    };
  });
}

/** Returns how a message names an option: `--steps`, or `prompt` for an argument. */
export function displayName({ flag, positional }: OptionFlag): string {
  return positional === undefined ? `--${flag}` : flag;
}

/** Returns the value of an option that was given as text. Throws InvalidOptionError. */
export function parseOption(schema: z.ZodObject, option: OptionFlag, given: unknown): unknown {
  if (option.type === 'texts by number')
    return checkOption(schema, option, textsByNumber(option, given), displayName(option), given);
  const isList = option.positional === 'rest' || option.type === 'texts';
  if (Array.isArray(given) && !isList) {
    throw new InvalidOptionError(expected(displayName(option), 'given once', given));
  }
  return checkOption(schema, option, parsed(option, given), displayName(option), given);
}

function parsed({ type }: OptionFlag, given: unknown): unknown {
  if (type === 'string' || type === 'texts') return given;
  const number = numberOf(given);
  return type === 'string or number' && Number.isNaN(number) ? given : number;
}

/** Returns the value if the schema takes it. `name` and `shown` are for the message. Throws InvalidOptionError. */
export function checkOption(
  schema: z.ZodObject,
  option: OptionFlag,
  value: unknown,
  name: string,
  shown: unknown = value,
): unknown {
  if (schema.shape[option.key]?.safeParse(value).success === true) return value;
  throw new InvalidOptionError(expected(name, option.rule, shown));
}

/** Returns `NUMBER=TEXT`, given once or often, as an object. Throws InvalidOptionError. */
function textsByNumber(option: OptionFlag, given: unknown): Record<string, unknown> {
  const found: Record<string, string> = {};
  for (const text of Array.isArray(given) ? given : [given]) {
    const [, number, value] = /^(\d{1,7})=([\s\S]*)$/.exec(String(text)) ?? [];
    if (number === undefined || value === undefined)
      throw new InvalidOptionError(expected(displayName(option), option.rule, text));
    if (found[Number(number)] !== undefined)
      throw new InvalidOptionError(expected(displayName(option), 'given once for a number', text));
    found[Number(number)] = value;
  }
  return found;
}

/** Text that is no plain decimal number becomes NaN, which no schema takes. */
function numberOf(given: unknown): number {
  return typeof given === 'string' && /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(given) ? Number(given) : Number.NaN;
}

function typeOf({ type, anyOf }: PropertySchema): OptionFlag['type'] {
  if (type === 'object') return 'texts by number';
  if (anyOf !== undefined) return anyOf.some((one) => one.type === 'array') ? 'texts' : 'string or number';
  return type === 'number' || type === 'integer' ? type : 'string';
}

function kebabCase(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

function ruleOf(property: PropertySchema): string {
  if (property.anyOf !== undefined) return property.anyOf.map(ruleOf).join(', or ');
  if (property.type === 'object') return 'NUMBER=TEXT';
  if (property.enum !== undefined) return `one of ${property.enum.join(', ')}`;
  if (property.type === 'array') {
    const rest = (property.items?.minLength ?? 0) > 0 ? ', none empty' : '';
    return `${property.minItems ?? 0} to ${property.maxItems ?? 'any number of'} texts${rest}`;
  }
  if (property.type === 'string') {
    return property.maxLength === undefined ? 'a text' : `a text of at most ${property.maxLength} characters`;
  }
  const { multipleOf = 1 } = property;
  const whole = multipleOf === 1 ? 'a whole number' : `a multiple of ${multipleOf}`;
  const kind = property.type === 'integer' ? whole : 'a number';
  const { minimum, maximum, exclusiveMinimum } = property;
  if (exclusiveMinimum !== undefined) {
    return maximum === undefined
      ? `${kind} above ${exclusiveMinimum}`
      : `${kind} above ${exclusiveMinimum}, at most ${maximum}`;
  }
  if (minimum !== undefined && maximum !== undefined && maximum < Number.MAX_SAFE_INTEGER) {
    return `${kind} from ${minimum} to ${maximum}`;
  }
  return minimum === undefined ? kind : `${kind} of at least ${minimum}`;
}
