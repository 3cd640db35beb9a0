// Whether an output has a place, asked before any work is done for it.
import { stat, writeFile } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import { OutputError } from '../errors.js';
import { writeFailure } from './failures.js';
import { dropTemporary, reserveTemporary } from './temporary-file.js';

/** In bytes, on every system of today. */
const longestName = 255;

/** Throws OutputError unless there is a folder for a file of that name that takes one, and no folder where the file is to be. A name that ends in a slash is one of a folder. */
export async function assertPlace(path: string): Promise<void> {
  const folder = dirname(resolve(path));
  const found = await stat(folder).catch(() => undefined);
  if (!found?.isDirectory()) {
    throw new OutputError(`Expected the folder of ${path} to exist, got no such folder. Create it first.`);
  }
  const target = await stat(path).catch(() => undefined);
  if (target?.isDirectory() && !/[\\/]$/.test(path)) {
    throw new OutputError(`Expected ${path} to be a file, got a folder. End the name in / for a PNG sequence.`);
  }
  if (Buffer.byteLength(basename(path)) > longestName) {
    throw new OutputError(`Expected a file name of at most ${longestName} bytes, got ${basename(path)}. Shorten it.`);
  }
  const trial = reserveTemporary(resolve(path));
  try {
    await writeFile(trial, '');
  } catch (error) {
    throw writeFailure(path, error);
  } finally {
    await dropTemporary(trial).catch(() => {});
  }
}
