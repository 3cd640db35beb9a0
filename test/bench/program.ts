// The program `reelspace` as its users start it, while it is measured.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const program = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));

/** A started reelspace. */
export interface Program {
  readonly child: ChildProcess;
  /** Resolves with its exit code and what it wrote to stderr. */
  readonly ended: Promise<{ readonly code: number | null; readonly stderr: string }>;
}

/** Starts reelspace. `onStderr` sees all that was written so far. */
export function startProgram(arguments_: readonly string[], onStderr: (text: string) => void = () => {}): Program {
  const child = spawn(process.execPath, [program, ...arguments_], { stdio: ['ignore', 'ignore', 'pipe'] });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
    onStderr(stderr);
  });
  return { child, ended: once(child, 'close').then(([code]) => ({ code, stderr })) };
}

/** Throws with the last line of stderr unless the program succeeded. */
export async function succeed({ ended }: Program): Promise<void> {
  const { code, stderr } = await ended;
  if (code !== 0) throw new Error(`reelspace ended with code ${code}: ${stderr.trim().split('\n').at(-1)}`);
}
