// Names beside an output that hold it until it is whole, removed when the process ends first.
import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

const pending = new Set<string>();
let exitHookInstalled = false;

/** Returns a new name in the folder of `path`. What gets written there is removed at process exit unless it was kept. */
export function reserveTemporary(path: string): string {
  if (!exitHookInstalled) {
    exitHookInstalled = true;
    process.on('exit', () => {
      for (const left of pending) {
        try {
          rmSync(left, { recursive: true, force: true });
        } catch {
          // The others are to go nevertheless.
        }
      }
    });
  }
  // Names have at most 255 bytes.
  const start = basename(path).slice(0, 60);
  const temporary = join(dirname(path), `.${start}.${randomBytes(6).toString('hex')}.partial`);
  pending.add(temporary);
  return temporary;
}

/** Renames a temporary file to its final name, replacing what was there. */
export async function keepTemporary(temporary: string, path: string): Promise<void> {
  await rename(temporary, path);
  pending.delete(temporary);
}

/** Removes a temporary file or folder, if it was made. */
export async function dropTemporary(temporary: string): Promise<void> {
  await rm(temporary, { recursive: true, force: true });
  pending.delete(temporary);
}
