// Where the output goes: the name that was given, or one that is free.
import { closeSync, openSync, rmSync, statSync } from 'node:fs';
import { basename, extname, resolve } from 'node:path';
import { latentsExtension } from '../diffusion/save.js';
import { expected, InvalidOptionError } from '../errors.js';

/** Returns the name that was given; otherwise `<stem><extension>`, with a number where that exists already. It is taken with an empty
 * file, which goes away with the process unless the output takes its place: of two runs at once each has a name of its own. */
export function outputName(given: string | undefined, stem: string, extension: string): string {
  if (given === '') throw new InvalidOptionError(expected('--output', 'a file name', given));
  if (given !== undefined) return given;
  let name = `${stem}${extension}`;
  for (let number = 2; !take(name); number++) name = `${stem}-${number}${extension}`;
  return name;
}

const taken = new Set<string>();

/** Returns whether the name was free. */
function take(name: string): boolean {
  const place = resolve(name);
  try {
    closeSync(openSync(place, 'wx'));
  } catch (error) {
    // What else is wrong with the place is told when it is written to.
    return (error as NodeJS.ErrnoException).code !== 'EEXIST';
  }
  if (taken.size === 0) process.once('exit', giveBack);
  taken.add(place);
  return true;
}

function giveBack(): void {
  for (const place of taken) if (isFile(place) && statSync(place).size === 0) rmSync(place, { force: true });
}

/** Returns a file name without its folder and ending. */
export function stemOf(path: string): string {
  return basename(path, extname(path));
}

/** Throws InvalidOptionError when the file that a flag names for writing is one that is read: one that the texts of other options name. */
export function assertOtherFile(flag: string, output: string, texts: readonly string[]): void {
  const place = placeOf(output);
  if (place === undefined || !filesIn(texts).some((path) => placeOf(path) === place)) return;
  throw new InvalidOptionError(expected(flag, 'another file than the input', output, 'Give it another name.'));
}

/** Returns the files that texts name. */
export function filesIn(texts: readonly string[]): string[] {
  return [...new Set(texts.flatMap(pathsIn).filter(isFile))];
}

/** Returns the paths that a text may hold: itself, several with commas between, or one in NAME=path:SCALE:START:END. */
function pathsIn(text: string): string[] {
  const [, named = ''] = /^[^=]*=(.+?)(?::[^:\\/]*){0,3}$/s.exec(text) ?? [];
  return [text, ...text.split(','), named];
}

function isFile(path: string): boolean {
  return placeOf(path) !== undefined;
}

/** Returns where a file lies on its disk, whatever it is called by; undefined when it is none. */
function placeOf(path: string): string | undefined {
  try {
    const stats = statSync(path, { bigint: true });
    return stats.isFile() ? `${stats.dev}/${stats.ino}` : undefined;
  } catch {
    return undefined; // a prompt may be longer than any name, or hold what none does
  }
}

/** Throws InvalidOptionError unless the name is one of a latents file. */
export function assertLatentsName(flag: string, path: string): void {
  if (extname(path) === latentsExtension) return;
  throw new InvalidOptionError(expected(flag, `a file name that ends in ${latentsExtension}`, path));
}
