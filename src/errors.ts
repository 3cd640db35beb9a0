// Every error that reelspace throws on purpose: one base class, one subclass per failure a caller can act on.

/** What every reelspace error carries besides its message. */
export interface ErrorDetails {
  /** What the user can do about it, when the message does not already say. */
  hint?: string;
  /** The error underneath, if any. */
  cause?: unknown;
}

/** Base class: `code` is stable and safe to branch on, `message` is one line for people. */
export abstract class ReelspaceError extends Error {
  abstract readonly code: string;
  readonly hint: string | undefined;

  constructor(message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = new.target.name;
    this.hint = details.hint;
  }
}

/** An option, argument or combination of them that can't be honoured. */
export class InvalidOptionError extends ReelspaceError {
  readonly code = 'INVALID_OPTION';
}

/** A model folder that is missing, altered, inconsistent, or made for another version. */
export class BundleError extends ReelspaceError {
  readonly code = 'BUNDLE';
}

/** A device that is unknown, absent, or fails to start. */
export class DeviceError extends ReelspaceError {
  readonly code = 'DEVICE';
}

/** A network that failed while it ran (out of memory, a shape it can't take, a crashed worker). */
export class NetworkError extends ReelspaceError {
  readonly code = 'NETWORK';
}

/** A media file that can't be read: missing, empty, truncated, not media, or larger than we take. */
export class MediaError extends ReelspaceError {
  readonly code = 'MEDIA';
}

/** No usable ffmpeg was found. */
export class FfmpegNotFoundError extends ReelspaceError {
  readonly code = 'FFMPEG_NOT_FOUND';
}

/** ffmpeg ended with an error that is not about the input itself. */
export class FfmpegError extends ReelspaceError {
  readonly code = 'FFMPEG';
  readonly exitCode: number | undefined;
  /** The last lines that ffmpeg wrote to stderr. */
  readonly stderrTail: string;

  constructor(message: string, details: ErrorDetails & { exitCode?: number; stderrTail?: string } = {}) {
    super(message, details);
    this.exitCode = details.exitCode;
    this.stderrTail = details.stderrTail ?? '';
  }
}

/** The output can't be written: no such folder, no permission, disk full. */
export class OutputError extends ReelspaceError {
  readonly code = 'OUTPUT';
}

/** A data file (safetensors, JSON) whose content breaks its format. */
export class FormatError extends ReelspaceError {
  readonly code = 'FORMAT';
}

/** A model hub that can't be reached, refuses, or serves something else than it should. */
export class HubError extends ReelspaceError {
  readonly code = 'HUB';
}

/** A job that can't be queued, found or changed as asked. */
export class JobError extends ReelspaceError {
  readonly code = 'JOB';
}

/** The caller's AbortSignal fired. Nothing partial is left behind. */
export class CancelledError extends ReelspaceError {
  readonly code = 'CANCELLED';

  constructor(message = 'The run was cancelled.', details: ErrorDetails = {}) {
    super(message, details);
  }
}

/** Returns the one sentence form of a bad value: `Expected <name> to be <rule>, got <value>. <advice>` */
export function expected(name: string, rule: string, value: unknown, advice?: string): string {
  const sentence = `Expected ${name} to be ${rule}, got ${describe(value)}.`;
  return advice === undefined ? sentence : `${sentence} ${advice}`;
}

/** Throws CancelledError if the signal has fired. */
export function throwIfCancelled(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new CancelledError(undefined, { cause: signal.reason });
}

const longestValueShown = 80;
const mostEntriesShown = 8;
const mostLevelsShown = 2;

function describe(value: unknown, level = 1): string {
  if (typeof value === 'string') return JSON.stringify(shorten(value));
  if (typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean') return String(value);
  if (value === null || value === undefined) return String(value);
  if (!Array.isArray(value)) return typeof value;
  if (level > mostLevelsShown) return '[…]';
  const shown = value.slice(0, mostEntriesShown).map((entry) => describe(entry, level + 1));
  return shorten(`[${[...shown, ...(value.length > mostEntriesShown ? ['…'] : [])].join(', ')}]`);
}

function shorten(text: string): string {
  return text.length <= longestValueShown ? text : `${text.slice(0, longestValueShown)}…`;
}
