// Reads what a LoRA file (Hu et al., arXiv 2106.09685) holds, in the ways in which its tensors are named:
//   PEFT       <module>.lora_A.weight, <module>.lora_B.weight (+ .lora_B.bias)
//   kohya      <module>.lora_down.weight, <module>.lora_up.weight, <module>.alpha (+ .diff, .diff_b: whole differences)
//   diffusers  <module>.lora.down.weight, <module>.lora.up.weight, in older files <attention>.processor.to_q_lora.down.weight and so on
import { z } from 'zod';
import { expected, FormatError } from '../errors.js';
import { isShallow } from '../tensor/json-text.js';
import type { SafetensorsFile } from '../tensor/safetensors.js';

/** What a file has for one module, by the names of its tensors. */
export interface LoraLayer {
  /** The module as the file calls it. */
  readonly module: string;
  /** All tensors of the module. */
  readonly keys: readonly string[];
  /** [rank, ...]. */
  readonly down: string | undefined;
  /** [rows, rank, ...]. */
  readonly up: string | undefined;
  /** A difference of the whole weight. */
  readonly difference: string | undefined;
  /** A difference of the bias that is scaled as the product is. */
  readonly upBias: string | undefined;
  /** A difference of the bias. */
  readonly biasDifference: string | undefined;
  /** What the product is multiplied by, beside the scale that the user gives. */
  readonly factor: number;
}

/** The layers that a file holds, and the tensors that belong to none that is understood. */
export interface LoraLayers {
  readonly layers: readonly LoraLayer[];
  readonly unknownKeys: readonly string[];
}

type Role = 'down' | 'up' | 'alpha' | 'difference' | 'upBias' | 'biasDifference' | 'unknown';

/** The tensors of one module. */
interface Tensors {
  readonly keys: string[];
  readonly roles: Map<Role, string>;
}

const endings: readonly (readonly [ending: RegExp, role: Role])[] = [
  [/\.(?:lora_A(?:\.\w+)?|lora_down|lora\.down|lora_linear_layer\.down)\.weight$/, 'down'],
  [/\.(?:lora_B(?:\.\w+)?|lora_up|lora\.up|lora_linear_layer\.up)\.weight$/, 'up'],
  [/\.lora_B(?:\.\w+)?\.bias$/, 'upBias'],
  [/\.alpha$/, 'alpha'],
  [/\.diff$/, 'difference'],
  [/\.diff_b$/, 'biasDifference'],
];

/** Part of a name that stands for another way to change a module (LoHa, LoKr, DoRA, ...): a module that has one is not understood. */
const unknownWay = /lora_\w|^(?:dora_scale|diff_m|(?:hada|lokr|oft)_\w+)$/;

/** An attention's matrix as diffusers' attention processors named it; motion LoRAs of AnimateDiff are named so. */
const processorPattern = /(?:\.processor)?\.to_(q|k|v|out)_lora\.(?=(?:down|up)\.weight$)/;

/** Returns the layers of a file. Throws FormatError for a layer that has one half only, and for odd ranks and alphas. */
export async function readLoraLayers(file: SafetensorsFile, path: string): Promise<LoraLayers> {
  const modules = new Map<string, Tensors>();
  const unknownKeys: string[] = [];
  for (const key of file.entries.keys()) {
    const named = key.replace(processorPattern, (_, matrix) => `.to_${matrix}${matrix === 'out' ? '.0' : ''}.lora.`);
    const found = splitName(named);
    if (found === undefined) {
      unknownKeys.push(key);
      continue;
    }
    const { module, role } = found;
    const parts: Tensors = modules.get(module) ?? { keys: [], roles: new Map() };
    modules.set(module, parts);
    parts.keys.push(key);
    if (parts.roles.has(role)) {
      throw new FormatError(`${path} names ${parts.roles.get(role)} and ${key}: two tensors for one place.`);
    }
    parts.roles.set(role, key);
  }
  const alphaOf = readAlphas(file, path);
  const layers: LoraLayer[] = [];
  for (const [module, { keys, roles }] of modules) {
    const [down, up] = [roles.get('down'), roles.get('up')];
    if (roles.has('unknown')) {
      unknownKeys.push(...keys);
      continue;
    }
    if ((down === undefined) !== (up === undefined)) {
      const missing = down === undefined ? 'lora_A or lora_down' : 'lora_B or lora_up';
      throw new FormatError(`Expected ${path} to hold both halves of ${module}, but ${missing} is missing.`);
    }
    const rank = down === undefined ? 1 : (file.entries.get(down)?.shape[0] ?? 0);
    const written = roles.get('alpha');
    const alpha = written === undefined ? undefined : await readAlpha(file, written);
    const factor = alpha === undefined ? alphaOf(module, rank) : alpha / rank;
    if (!Number.isFinite(factor))
      throw new FormatError(expected(`alpha / rank of ${module} in ${path}`, 'a number', factor));
    layers.push({
      ...{ module, keys, down, up, factor },
      difference: roles.get('difference'),
      upBias: roles.get('upBias'),
      biasDifference: roles.get('biasDifference'),
    });
  }
  return { layers, unknownKeys };
}

/** Returns the module that a tensor's name begins with, and what the rest says, or undefined where it says nothing. */
function splitName(name: string): { module: string; role: Role } | undefined {
  for (const [ending, role] of endings) {
    const at = name.search(ending);
    if (at >= 0) return { module: name.slice(0, at), role };
  }
  const parts = name.split('.');
  const words = parts.findLastIndex((part) => !/^\w+$/.test(part)) + 1;
  const at = parts.findIndex((part, index) => index >= Math.max(1, words) && unknownWay.test(part));
  return at < 0 ? undefined : { module: parts.slice(0, at).join('.'), role: 'unknown' };
}

async function readAlpha(file: SafetensorsFile, key: string): Promise<number> {
  const isInteger = file.entries.get(key)?.dtype === 'I64';
  const { data } = isInteger ? await file.readIntegers(key) : await file.read(key);
  return data.length === 1 ? Number(data[0]) : Number.NaN;
}

const adapterSchema = z.record(z.string(), z.unknown());
/** More than the patterns and lists that are in it lie deep. */
const adapterLevels = 8;

/**
 * Returns the function that gives the factor of modules which have no alpha of their own: as the metadata say that
 * diffusers writes beside PEFT's names (`<component>.lora_alpha` and so on), otherwise 1.
 */
function readAlphas({ metadata }: SafetensorsFile, path: string): (module: string, rank: number) => number {
  const text = metadata.lora_adapter_metadata;
  if (text === undefined) return () => 1;
  let config: Record<string, unknown>;
  try {
    config = adapterSchema.parse(isShallow(text, adapterLevels) ? JSON.parse(text) : undefined);
  } catch (cause) {
    throw new FormatError(`Expected lora_adapter_metadata of ${path} to be a JSON object.`, { cause });
  }
  return (module, rank) => {
    const component = Object.keys(config)
      .filter((key) => key.endsWith('.lora_alpha') && module.startsWith(key.slice(0, -'lora_alpha'.length)))
      .map((key) => key.slice(0, -'lora_alpha'.length))[0];
    if (component === undefined) return 1;
    if (config[`${component}use_dora`] === true) {
      throw new FormatError(`${path} is a DoRA, which is not supported. Use a plain LoRA.`);
    }
    const patterns = adapterSchema.catch({}).parse(config[`${component}alpha_pattern`]);
    const pattern = Object.keys(patterns).find(
      (name) => module === `${component}${name}` || module.endsWith(`.${name}`),
    );
    const alpha = Number(pattern === undefined ? config[`${component}lora_alpha`] : patterns[pattern]);
    return alpha / (config[`${component}use_rslora`] === true ? Math.sqrt(rank) : rank);
  };
}
