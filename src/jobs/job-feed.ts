// Hands every change of a job to everybody who listens, each at their own pace.
import { hasEnded, type JobRecord } from './job.js';

interface Listener<Result> {
  readonly waiting: JobRecord<Result>[];
  /** Who asked for the next record before there was one. */
  readonly askers: (() => void)[];
}

/** A broadcast of job records. */
export class JobFeed<Result> {
  readonly #listeners = new Set<Listener<Result>>();
  #closed = false;

  /** Hands the record to all who listen. */
  publish(record: JobRecord<Result>): void {
    for (const listener of this.#listeners) {
      // A slow listener needs the newest progress only; states are never dropped.
      const last = listener.waiting.findLastIndex(({ id }) => id === record.id);
      const isNewer = listener.waiting[last]?.state === record.state && !hasEnded(record.state);
      if (isNewer) listener.waiting.splice(last, 1);
      listener.waiting.push(record);
      wakeAll(listener);
    }
  }

  /** Ends every loop over the feed, once it has read what is waiting. */
  close(): void {
    this.#closed = true;
    for (const listener of this.#listeners) wakeAll(listener);
  }

  /** Returns the records published from this call on. */
  listen(): AsyncIterableIterator<JobRecord<Result>> {
    const listener: Listener<Result> = { waiting: [], askers: [] };
    this.#listeners.add(listener);
    // Not a generator: the end of a loop that never began would not reach its `finally`.
    return {
      next: async () => {
        while (listener.waiting.length === 0 && !this.#closed && this.#listeners.has(listener)) {
          await new Promise<void>((resolve) => listener.askers.push(resolve));
        }
        const value = listener.waiting.shift();
        return value === undefined ? { done: true, value } : { done: false, value };
      },
      return: async () => {
        this.#listeners.delete(listener);
        listener.waiting.length = 0;
        wakeAll(listener);
        return { done: true, value: undefined };
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }
}

/** Has all who asked look again, in the order in which they asked. */
function wakeAll(listener: { readonly askers: (() => void)[] }): void {
  for (const wake of listener.askers.splice(0)) wake();
}
