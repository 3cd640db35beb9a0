// Where the output goes: the name that was given, or one that is free.
import { existsSync, realpathSync } from 'node:fs';
import { basename, extname } from 'node:path';
import { latentsExtension } from '../diffusion/save.js';
import { expected, InvalidOptionError } from '../errors.js';

/** Returns the name that was given; otherwise `<stem><extension>`, with a number where that exists already. */
export function outputName(given: string | undefined, stem: string, extension: string): string {
  if (given === '') throw new InvalidOptionError(expected('--output', 'a file name', given));
  if (given !== undefined) return given;
  let name = `${stem}${extension}`;
  for (let number = 2; existsSync(name); number++) name = `${stem}-${number}${extension}`;
  return name;
}

/** Returns a file name without its folder and ending. */
export function stemOf(path: string): string {
  return basename(path, extname(path));
}

/** Throws InvalidOptionError when the output is one of the files that are read. */
export function assertOtherFile(output: string, inputs: readonly string[]): void {
  if (!existsSync(output)) return;
  const taken = inputs.find((input) => existsSync(input) && realpathSync(input) === realpathSync(output));
  if (taken === undefined) return;
  throw new InvalidOptionError(expected('--output', 'another file than the input', output, 'Give it another name.'));
}

/** Throws InvalidOptionError unless the name is one of a latents file. */
export function assertLatentsName(flag: string, path: string): void {
  if (extname(path) === latentsExtension) return;
  throw new InvalidOptionError(expected(flag, `a file name that ends in ${latentsExtension}`, path));
}
