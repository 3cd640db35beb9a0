// A deadline for code that isn't ours: a model's own patterns may take years for fifty letters.
import { createContext, Script } from 'node:vm';
import { BundleError } from '../errors.js';

const script = new Script('run()');
const timedOut = 'ERR_SCRIPT_EXECUTION_TIMEOUT';

/** Returns what `run` returns. Breaks it off, in the midst of a regular expression too, and throws BundleError with that message when it takes
 * longer. Takes a millisecond more. */
export function withinDeadline<T>(timeoutMs: number, message: string, run: () => T): T {
  try {
    return script.runInContext(createContext({ run }), { timeout: timeoutMs, displayErrors: false });
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== timedOut) throw cause;
    throw new BundleError(message, { cause });
  }
}
