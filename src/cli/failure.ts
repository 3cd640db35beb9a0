// What the command line says about an error, and the exit code that goes with it.
import { CancelledError, InvalidOptionError, ReelspaceError } from '../errors.js';

/** What the process ends with. */
export const exitCodes = { done: 0, failed: 1, badArguments: 2, interrupted: 130 } as const;

/** Returns the exit code for an error. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof CancelledError) return exitCodes.interrupted;
  return error instanceof InvalidOptionError ? exitCodes.badArguments : exitCodes.failed;
}

/** Returns `error: ...`, and a line `hint: ...` where there is one; with `stack`, the stack traces too. */
export function describeFailure(error: unknown, stack: boolean): string {
  const lines: string[] = [];
  if (error instanceof ReelspaceError) {
    lines.push(`error: ${oneLine(error.message)}`);
    if (error.hint !== undefined) lines.push(`hint: ${oneLine(error.hint)}`);
  } else {
    lines.push(`error: unexpected: ${oneLine(error instanceof Error ? error.message : String(error))}`);
    if (!stack) lines.push('hint: Set REELSPACE_DEBUG=1 to see where it happened.');
  }
  for (let cause = error; stack && cause instanceof Error; cause = cause.cause)
    lines.push(cause.stack ?? cause.message);
  return lines.join('\n');
}

/** Returns whether a command that could not be read, perhaps, was to answer in JSON. */
export function asksForJson(arguments_: readonly string[]): boolean {
  const end = arguments_.indexOf('--');
  return arguments_.slice(0, end === -1 ? undefined : end).some((text) => text === '--json' || text === '--json=true');
}

/** Returns the object that `--json` prints of a command that failed. */
export function failureReport(error: unknown): object {
  const message = error instanceof Error ? error.message : String(error);
  const { code, hint } = error instanceof ReelspaceError ? error : { code: 'UNEXPECTED', hint: undefined };
  return { error: { code, message, ...(hint === undefined ? {} : { hint }) } };
}

function oneLine(text: string): string {
  return text.replace(/\s*[\r\n]+\s*/g, ' ').trim();
}
