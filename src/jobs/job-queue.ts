// Jobs that wait for their turn in this process, run, and end in a state that is kept.
import { randomUUID } from 'node:crypto';
import PQueue from 'p-queue';
import { CancelledError, expected, JobError, ReelspaceError } from '../errors.js';
import { hasEnded, type JobFailure, type JobProgress, type JobRecord, type JobRequest } from './job.js';
import { JobFeed } from './job-feed.js';

/** What a run is given besides its job. */
export interface JobContext {
  /** Fires when the job is cancelled. */
  readonly signal: AbortSignal;
  readonly onProgress: (progress: JobProgress) => void;
}

export interface JobQueueOptions {
  /** Jobs that run at the same time. Default 1. */
  readonly concurrency?: number | undefined;
  /** Jobs that may wait; more are refused. Default 64. */
  readonly maxQueued?: number | undefined;
}

interface Entry<Result> {
  record: JobRecord<Result>;
  readonly controller: AbortController;
  readonly ended: PromiseWithResolvers<JobRecord<Result>>;
}

interface PromiseWithResolvers<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
}

/** A queue of jobs that are worked off by `run`. Every record stays until it is removed. */
export class JobQueue<Result = unknown> {
  readonly #run: (job: JobRecord<Result>, context: JobContext) => Promise<Result>;
  readonly #maxQueued: number;
  readonly #queue: PQueue;
  readonly #entries = new Map<string, Entry<Result>>();
  readonly #feed = new JobFeed<Result>();
  #closed = false;

  constructor(
    run: (job: JobRecord<Result>, context: JobContext) => Promise<Result>,
    { concurrency = 1, maxQueued = 64 }: JobQueueOptions = {},
  ) {
    for (const [name, value] of Object.entries({ concurrency, maxQueued })) {
      if (!Number.isInteger(value) || value < 1)
        throw new JobError(expected(name, 'a whole number of at least 1', value));
    }
    this.#run = run;
    this.#maxQueued = maxQueued;
    this.#queue = new PQueue({ concurrency });
  }

  /** Returns the record of a new job. Throws JobError when too many wait, or after close(). */
  submit({ pipeline, options, priority = 0 }: JobRequest): JobRecord<Result> {
    if (this.#closed) throw new JobError('The queue is closed. Open a new one for more jobs.');
    if (!Number.isFinite(priority)) throw new JobError(expected('priority', 'a number', priority));
    const queued = this.list().filter(({ state }) => state === 'queued').length;
    if (queued >= this.#maxQueued) {
      throw new JobError(`The queue is full: ${queued} jobs wait. Try again when one has started, or cancel one.`);
    }
    const entry: Entry<Result> = {
      record: {
        id: randomUUID(),
        pipeline,
        options: structuredClone(options),
        priority,
        state: 'queued',
        submittedAt: now(),
        startedAt: undefined,
        endedAt: undefined,
        progress: undefined,
        result: undefined,
        error: undefined,
      },
      controller: new AbortController(),
      ended: withResolver(),
    };
    const { record } = entry;
    this.#entries.set(record.id, entry);
    this.#feed.publish(record);
    // #work never rejects, so neither does this promise.
    void this.#queue.add(() => this.#work(entry), { priority });
    return record;
  }

  /** Returns a job as it is now. Throws JobError when there is none of that id. */
  get(id: string): JobRecord<Result> {
    return this.#entry(id).record;
  }

  /** Returns all jobs as they are now, oldest first. */
  list(): JobRecord<Result>[] {
    return [...this.#entries.values()].map(({ record }) => record);
  }

  /** Returns the job once it has ended; a job that failed is returned too. Throws JobError when there is none of that id. */
  async wait(id: string): Promise<JobRecord<Result>> {
    return this.#entry(id).ended.promise;
  }

  /**
   * Returns the job once it has ended: a queued one never starts, a running one is told to stop. It may have completed
   * or failed in that very moment. Throws JobError when it has ended before, or there is none of that id.
   */
  async cancel(id: string): Promise<JobRecord<Result>> {
    const entry = this.#entry(id);
    const { state } = entry.record;
    if (hasEnded(state)) throw new JobError(expected(`job ${id}`, 'queued or running to be cancelled', state));
    entry.controller.abort(new CancelledError('The job was cancelled.'));
    // Its place in p-queue stays, and does nothing when its turn comes.
    if (state === 'queued') this.#end(entry, { state: 'cancelled' });
    return entry.ended.promise;
  }

  /** Forgets a job. Throws JobError unless it has ended. */
  remove(id: string): void {
    const { state } = this.#entry(id).record;
    if (!hasEnded(state)) throw new JobError(expected(`job ${id}`, 'ended to be removed', state, 'Cancel it first.'));
    this.#entries.delete(id);
  }

  /** Returns every change of every job from this call on; of a run of progress, a slow reader may see the last only. */
  events(): AsyncIterableIterator<JobRecord<Result>> {
    return this.#feed.listen();
  }

  /** Takes no more jobs, cancels those that have not ended, and returns when all have. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(this.list().flatMap(({ id, state }) => (hasEnded(state) ? [] : [this.cancel(id)])));
    await this.#queue.onIdle();
    this.#feed.close();
  }

  #entry(id: string): Entry<Result> {
    const entry = this.#entries.get(id);
    if (entry === undefined) throw new JobError(expected('job', 'the id of a job in the queue', id));
    return entry;
  }

  async #work(entry: Entry<Result>): Promise<void> {
    if (hasEnded(entry.record.state)) return;
    this.#change(entry, { state: 'running', startedAt: now() });
    const { signal } = entry.controller;
    const onProgress = ({ stage, done, total }: JobProgress) => {
      if (!hasEnded(entry.record.state)) this.#change(entry, { progress: { stage, done, total } });
    };
    try {
      const result = await this.#run(entry.record, { signal, onProgress });
      this.#end(entry, { state: 'completed', result });
    } catch (error) {
      this.#end(entry, signal.aborted ? { state: 'cancelled' } : { state: 'failed', error: failureOf(error) });
    }
  }

  #end(entry: Entry<Result>, change: Partial<JobRecord<Result>>): void {
    this.#change(entry, { ...change, endedAt: now() });
    entry.ended.resolve(entry.record);
  }

  #change(entry: Entry<Result>, change: Partial<JobRecord<Result>>): void {
    entry.record = { ...entry.record, ...change };
    this.#feed.publish(entry.record);
  }
}

function failureOf(error: unknown): JobFailure {
  if (error instanceof ReelspaceError) return { code: error.code, message: error.message, hint: error.hint };
  return { code: 'UNEXPECTED', message: error instanceof Error ? error.message : String(error), hint: undefined };
}

function now(): string {
  return new Date().toISOString();
}

function withResolver<T>(): PromiseWithResolvers<T> {
  let resolve: (value: T) => void = () => {};
  const promise = new Promise<T>((whenResolved) => {
    resolve = whenResolved;
  });
  return { promise, resolve };
}
