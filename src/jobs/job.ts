// What is known of a job, from its submission to its end.

export const jobStates = ['queued', 'running', 'completed', 'failed', 'cancelled'] as const;
export type JobState = (typeof jobStates)[number];

/** What a job is asked to do. */
export interface JobRequest {
  /** Name of the pipeline; the queue does not look into it. */
  readonly pipeline: string;
  /** Options of the pipeline, plain data. */
  readonly options: Readonly<Record<string, unknown>>;
  /** Higher starts first, the oldest first among equals. Default 0. */
  readonly priority?: number | undefined;
}

/** How far a running job is. */
export interface JobProgress {
  readonly stage: string;
  readonly done: number;
  /** Undefined while it isn't known. */
  readonly total: number | undefined;
}

/** Why a job failed, as plain data. */
export interface JobFailure {
  readonly code: string;
  readonly message: string;
  readonly hint: string | undefined;
}

/** A job at one moment. Never changes: each change makes a new record. */
export interface JobRecord<Result = unknown> extends Required<JobRequest> {
  readonly id: string;
  readonly state: JobState;
  /** ISO 8601, as are the others. */
  readonly submittedAt: string;
  readonly startedAt: string | undefined;
  readonly endedAt: string | undefined;
  readonly progress: JobProgress | undefined;
  /** What the run returned; only when completed. */
  readonly result: Result | undefined;
  /** Only when failed. */
  readonly error: JobFailure | undefined;
}

/** Returns whether a job in this state will never change again. */
export function hasEnded(state: JobState): boolean {
  return state !== 'queued' && state !== 'running';
}
