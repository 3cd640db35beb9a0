// Ctrl-C and its relatives: the first asks the run to end, the second ends the process.
import { constants } from 'node:os';
import { CancelledError } from '../errors.js';
import { exitCodes } from './failure.js';

const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Returns a signal that fires when the user or the system asks the process to end; `note` is called then. */
export function watchInterruption(note: () => void): { signal: AbortSignal; stop: () => void } {
  const controller = new AbortController();
  const interrupt = () => {
    if (controller.signal.aborted) endAtOnce();
    controller.abort(new CancelledError('The run was interrupted.'));
    note();
  };
  const endAtOnce = () => {
    // Files that are half written are removed by exit hooks. An orderly exit would tear networks down while they run, which at times
    // aborts; shells give a process that SIGINT ended the same code, 130.
    process.emit('exit', exitCodes.interrupted);
    for (const name of signals) process.removeAllListeners(name);
    process.kill(process.pid, 'SIGINT');
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
