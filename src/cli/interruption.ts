// Ctrl-C and its relatives: the first asks the run to end, the second ends the process.
import { constants } from 'node:os';
import { CancelledError } from '../errors.js';
import { exitCodes } from './failure.js';

const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Returns a signal that fires when the user or the system asks the process to end; `note` is called then. */
export function watchInterruption(note: () => void): { signal: AbortSignal; stop: () => void } {
  const controller = new AbortController();
  const interrupt = () => {
    if (controller.signal.aborted) {
      for (const name of signals) process.off(name, interrupt);
      endAtOnce();
      return;
    }
    controller.abort(new CancelledError('The run was interrupted.'));
    note();
  };
  for (const name of signals) if (name in constants.signals) process.on(name, interrupt);
  return {
    signal: controller.signal,
    stop: () => {
      // Once interrupted, the process is about to end: a second signal must not change how.
      if (controller.signal.aborted) return;
      for (const name of signals) process.off(name, interrupt);
    },
  };
}

/** Ends the process by SIGINT, which shells call 130. An orderly exit would end the thread of a network that runs, whose native code
 * then aborts the process: "terminate called after throwing an instance of 'Napi::Error'", one time in five with onnxruntime-node. */
function endAtOnce(): void {
  // On Windows a kill would leave code 1.
  if (process.platform === 'win32') process.exit(exitCodes.interrupted);
  // Files that are half written are removed by exit hooks.
  process.emit('exit', exitCodes.interrupted);
  process.kill(process.pid, 'SIGINT');
}
