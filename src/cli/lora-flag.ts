// --lora: which LoRA files, and how strong each is.
import { expected, InvalidOptionError } from '../errors.js';
import type { LoraChoice, MergedLora } from '../networks/model.js';

/** Returns the LoRAs that `--lora` names, once or several times. Throws InvalidOptionError. */
export function parseLoras(given: unknown): LoraChoice[] {
  return [given].flat().map((text) => {
    const [, path, scale] = /^(.*\.safetensors)(?::(.*))?$/is.exec(String(text)) ?? [];
    if (path === undefined) throw new InvalidOptionError(expected('--lora', 'file.safetensors[:scale]', text));
    if (scale === undefined) return { path };
    if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(scale)) {
      throw new InvalidOptionError(expected(`scale of --lora ${path}`, 'a number', scale));
    }
    return { path, scale: Number(scale) };
  });
}

/** Returns a warning for each LoRA that holds more than the model takes. */
export function describeUnmatched(loras: readonly MergedLora[]): string[] {
  return loras
    .filter(({ unmatchedKeys }) => unmatchedKeys.length > 0)
    .map(({ path, unmatchedKeys }) => {
      const [first, ...others] = unmatchedKeys;
      return `${path}: passed over ${first}${others.length === 0 ? '' : ` and ${others.length} more tensors`}.`;
    });
}
