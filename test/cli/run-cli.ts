// Starts the program as its users do.
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const program = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));

/** The bundle that tests run on: real networks at toy widths. */
export const tinyBundle = fileURLToPath(new URL('../../../test/fixtures/tiny-bundle', import.meta.url));

export interface Ended {
  readonly code: number | null;
  /** The signal that the system ended it for, in place of a code. */
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Returns the exit code that a shell would say. */
export function shellCode({ code, signal }: Ended): number {
  return code ?? 128 + (signal === null ? 0 : constants.signals[signal]);
}

/** Starts reelspace, in the repository's root unless `cwd` says otherwise. */
export function startCli(
  arguments_: readonly string[],
  environment: Readonly<Record<string, string>> = {},
  cwd: string = root,
) {
  return spawn(process.execPath, [program, ...arguments_], {
    cwd,
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

/** Runs reelspace, in the repository's root unless `cwd` says otherwise. `onStderr` sees what was written so far and can end the process. */
export function runCli(
  arguments_: readonly string[],
  onStderr: (text: string, kill: (signal: NodeJS.Signals) => void) => void = () => {},
  environment: Readonly<Record<string, string>> = {},
  cwd: string = root,
): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = startCli(arguments_, environment, cwd);
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
      onStderr(stderr, (signal) => child.kill(signal));
    });
    child.once('error', reject);
    child.once('close', (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
}
