// The queue of a device: every call of a network waits here, whichever window, pipeline or job it comes from.
import PQueue from 'p-queue';
import { CancelledError, throwIfCancelled } from '../errors.js';
import type { CallOptions, Device } from './model.js';

/** Runs one task at a time, the highest priority first, and the oldest first among equals. */
export class DeviceLane {
  readonly #queue = new PQueue({ concurrency: 1 });

  /** Number of tasks that wait, without the one that runs. */
  get waiting(): number {
    return this.#queue.size;
  }

  /**
   * Returns what the task returns. Throws CancelledError when the signal fires: at once while the task waits (it is
   * then never started), and after it has ended when it already runs (its answer is dropped).
   */
  async run<T>(task: () => Promise<T>, { signal, priority }: CallOptions = {}): Promise<T> {
    throwIfCancelled(signal);
    // p-queue gives the place of a running task away when its signal fires, though the network still runs: so it is
    // handed a signal that can only fire while the task waits.
    const leaving = new AbortController();
    const leave = () => leaving.abort();
    signal?.addEventListener('abort', leave, { once: true });
    const start = () => {
      signal?.removeEventListener('abort', leave);
      return task();
    };
    try {
      const result = await this.#queue.add(start, { priority: priority ?? 0, signal: leaving.signal });
      throwIfCancelled(signal);
      return result;
    } catch (error) {
      if (signal?.aborted && !(error instanceof CancelledError)) throwIfCancelled(signal);
      throw error;
    }
  }
}

const lanes = new Map<Device, DeviceLane>();

/** Returns the lane of a device, the same one for everybody in this process. */
export function laneOf(device: Device): DeviceLane {
  const lane = lanes.get(device) ?? new DeviceLane();
  lanes.set(device, lane);
  return lane;
}
