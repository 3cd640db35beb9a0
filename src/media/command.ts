// Runs one ffmpeg command. The only file that knows fluent-ffmpeg (2.1.3, archived: its traps are named where they bite).
import type { ChildProcess } from 'node:child_process';
import { resolve } from 'node:path';
import type { Writable } from 'node:stream';
import { promisify } from 'node:util';
import fluent from 'fluent-ffmpeg';
import { CancelledError, FfmpegError, throwIfCancelled } from '../errors.js';
import { findFfmpeg } from './ffmpeg.js';

/** One input: a file, or `pipe:0` for what is written to the run's stdin. */
export interface FfmpegInput {
  source: string;
  /** What the file is: something to see or hear (default), or words in ffmpeg's metadata format. */
  holds?: 'media' | 'metadata';
  /** Arguments before `-i`. */
  options?: readonly string[];
}

/** One ffmpeg command with one output. */
export interface FfmpegCommand {
  inputs: readonly FfmpegInput[];
  /** Arguments after the inputs. */
  options: readonly string[];
  /** A file, `pipe:1` to collect stdout as text, or a stream made with `emitClose: false`. */
  output: string | Writable;
  /** What ffmpeg prints: `error` (default), or `info` for the description of its inputs. */
  logLevel?: 'error' | 'info';
  signal?: AbortSignal | undefined;
}

/** The text that a finished command left. stdout is empty when it went to a stream. */
export interface FfmpegText {
  stdout: string;
  stderr: string;
}

/** A started command. */
export interface FfmpegRun {
  readonly pid: number;
  /** Where a `pipe:0` input is written. Its errors are swallowed: `done` tells why ffmpeg went away. */
  readonly stdin: Writable;
  /** Settles once the process is gone. Rejects with FfmpegError, or CancelledError after the signal or an interrupt. */
  readonly done: Promise<FfmpegText>;
  /** Ends the process and waits until it is gone. Does nothing after the end. */
  kill(): Promise<void>;
}

/**
 * The demuxers that may open a file. Playlists and scripts (hls, dash, concat, sdp, imf, image2 patterns, lavfi, avs) are
 * not among them, so that only the named file is ever read.
 */
const containers =
  'mov,matroska,avi,gif,apng,bmp_pipe,flv,asf,mpegts,mpeg,ogg,nut,ivf,mxf,dv,yuv4mpegpipe,h264,hevc,m4v,mpegvideo,rm,mp3,wav,flac,aac';

/** Longest wait between asking ffmpeg to end and ending it. */
const terminationGraceMs = 500;
/** Last lines of stderr that are kept; what is asked for as text is kept whole. */
const stderrLines = 200;

const running = new Set<ChildProcess>();
let exitHookInstalled = false;

/** Starts ffmpeg and returns once it runs. Throws FfmpegNotFoundError, FfmpegError, or CancelledError. */
export async function startFfmpeg(command: FfmpegCommand): Promise<FfmpegRun> {
  throwIfCancelled(command.signal);
  const { path } = await findFfmpeg();
  throwIfCancelled(command.signal);
  installExitHook();

  const builder = fluent({ stdoutLines: command.output === 'pipe:1' ? 0 : stderrLines });
  const readsStdin = command.inputs.some((input) => input.source === 'pipe:0');
  command.inputs.forEach((input, index) => {
    builder.input(input.source === 'pipe:0' ? input.source : fileUrl(input.source));
    const general = ['-hide_banner', ...(readsStdin ? [] : ['-nostdin']), '-loglevel', command.logLevel ?? 'error'];
    const formats = input.holds === 'metadata' ? ['-f', 'ffmetadata'] : ['-format_whitelist', containers];
    const guards = input.source === 'pipe:0' ? [] : ['-protocol_whitelist', 'file', ...formats];
    // Two arguments or more: fluent-ffmpeg splits a lone one at its space.
    addAll(builder.inputOptions.bind(builder), [...(index === 0 ? general : []), ...guards, ...(input.options ?? [])]);
  });
  addAll(builder.outputOptions.bind(builder), [...command.options, '-y']);
  const { output } = command;
  if (typeof output !== 'string') builder.output(output, { end: true });
  else builder.output(output === 'pipe:1' ? output : fileUrl(output));

  return launch(builder, path, command);
}

/**
 * Asks ffmpeg what it can do, which fluent-ffmpeg does before its first command and then remembers: to be begun beside other work, as it takes a sixth of
 * a second. What fails here fails at that command again.
 */
export async function learnCapabilities(): Promise<void> {
  const { path } = await findFfmpeg();
  const builder = fluent();
  (builder as unknown as FluentInsides)._getFfmpegPath = (give) => give(null, path);
  await Promise.all([
    promisify(builder.availableFormats.bind(builder))(),
    promisify(builder.availableEncoders.bind(builder))(),
  ]);
}

/** Runs ffmpeg to its end and returns what it printed. Throws as startFfmpeg and FfmpegRun.done do. */
export async function runFfmpeg(command: FfmpegCommand): Promise<FfmpegText> {
  const run = await startFfmpeg(command);
  return run.done;
}

/** Returns the path such that neither a leading dash nor a colon nor a percent sign means anything to ffmpeg. */
function fileUrl(path: string): string {
  return `file:${resolve(path)}`;
}

function addAll(add: (...options: string[]) => unknown, options: string[]): void {
  if (options.length > 0) add(...options);
}

/** What fluent-ffmpeg keeps to itself. */
interface FluentInsides {
  ffmpegProc: ChildProcess;
  /** It starts the program within `give`. */
  _getFfmpegPath: (give: (error: null, path: string) => void) => void;
}

function launch(builder: fluent.FfmpegCommand, path: string, { output, signal }: FfmpegCommand): Promise<FfmpegRun> {
  const insides = builder as unknown as FluentInsides;
  return new Promise((onStarted, onFailed) => {
    let child: ChildProcess | undefined;
    let killed = false;
    let reportEnd: (text: FfmpegText) => void = () => {};
    let reportError: (error: Error) => void = onFailed;
    const onAbort = () => void kill();

    let markGone = () => {};
    const gone = new Promise<void>((resolveGone) => {
      markGone = resolveGone;
    });
    async function kill(): Promise<void> {
      if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
      killed = true;
      const process = child;
      process.stdout?.destroy(); // a write that blocks on a full pipe would not see the signal
      process.stdin?.destroy();
      process.kill('SIGTERM');
      const force = setTimeout(() => process.kill('SIGKILL'), terminationGraceMs);
      await gone;
      clearTimeout(force);
      // Not left to fluent-ffmpeg: it waits for stderr to close, which a child of a wrapper script may hold open.
      reportError(new CancelledError(undefined, { cause: signal?.reason }));
    }

    const onNotStarted = (cause: Error) =>
      onFailed(new FfmpegError(`ffmpeg can't be started: ${cause.message}.`, { cause }));
    insides._getFfmpegPath = (give) => {
      try {
        give(null, path);
      } catch (cause) {
        // Some reasons are thrown (no memory, too many arguments), and would leave through the event loop.
        onNotStarted(cause as Error);
      }
    };

    builder.on('start', () => {
      child = insides.ffmpegProc;
      if (child.pid === undefined) {
        // The program vanished since it was found. fluent-ffmpeg's own listener would throw out of the event loop here.
        child.removeAllListeners('error');
        child.once('error', onNotStarted);
        return;
      }
      const started = child;
      running.add(started);
      // Else a letter of several bytes that two chunks share is broken.
      if (output === 'pipe:1') started.stdout?.setEncoding('utf8');
      started.once('exit', () => {
        running.delete(started);
        signal?.removeEventListener('abort', onAbort);
        markGone();
      });
      started.stdin?.on('error', () => {}); // EPIPE when ffmpeg leaves early; `done` has the reason
      const done = new Promise<FfmpegText>((resolveDone, rejectDone) => {
        reportEnd = resolveDone;
        reportError = rejectDone;
      });
      done.catch(() => {}); // a caller that only kills never looks at it
      if (signal?.aborted) onAbort();
      else signal?.addEventListener('abort', onAbort, { once: true });
      const { pid, stdin } = started;
      if (stdin !== null) onStarted({ pid: pid ?? 0, stdin, done, kill });
    });
    builder.on('end', (stdout, stderr) => reportEnd({ stdout: stdout ?? '', stderr: stderr ?? '' }));
    builder.on('error', (error: Error, _stdout: unknown, stderr: unknown) => {
      const stderrTail = typeof stderr === 'string' ? stderr.trim() : '';
      const exitCode = child?.exitCode ?? undefined;
      // A Ctrl-C reaches ffmpeg at the same moment as us: it then ends by itself, silently, with 255.
      const interrupted = exitCode === 255 && stderrTail === '';
      if (killed || interrupted || signal?.aborted) {
        reportError(new CancelledError(undefined, { cause: signal?.reason }));
        return;
      }
      const reason = stderrTail.split('\n').at(-1) || error.message;
      reportError(
        new FfmpegError(`ffmpeg failed: ${reason}`, {
          cause: error,
          stderrTail,
          ...(exitCode === undefined ? {} : { exitCode }),
        }),
      );
    });
    builder.run();
  });
}

function installExitHook(): void {
  if (exitHookInstalled) return;
  exitHookInstalled = true;
  // First of the hooks, so that no ffmpeg is left to write to a file that another one removes.
  process.prependListener('exit', () => {
    for (const child of running) child.kill('SIGKILL');
  });
}
