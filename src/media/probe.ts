// What a media file holds, told by ffmpeg itself: ffmpeg-static and the other npm packages bring no ffprobe.
import { FfmpegError, MediaError } from '../errors.js';
import { runFfmpeg } from './command.js';
import { readFailure, tooLarge } from './failures.js';
import { isWithinLimits, maxPixels } from './frame.js';
import type { MediaInfo } from './media-info.js';
import { detectMediaKind } from './media-kind.js';

/** Returns what a media file holds. Throws MediaError when it can't be read or is larger than we take. */
export async function probe(path: string, options: { signal?: AbortSignal | undefined } = {}): Promise<MediaInfo> {
  const kind = await detectMediaKind(path);
  if (kind === 'stream') return probeStream(path, options.signal);
  const { probeStill } = await import('./still.js'); // sharp takes long to load, and videos don't need it
  return probeStill(path);
}

/** Returns ffmpeg's name of a file's first sound codec, or undefined when it is silent. Throws MediaError. */
export async function probeAudioCodec(path: string, signal: AbortSignal | undefined): Promise<string | undefined> {
  if ((await detectMediaKind(path)) !== 'stream') return undefined;
  const text = await runFfmpeg({
    inputs: [{ source: path }],
    options: ['-f', 'ffmetadata'], // any output will do, and this one decodes nothing
    output: 'pipe:1',
    logLevel: 'info',
    signal,
  }).catch((error: unknown) => {
    throw error instanceof FfmpegError ? readFailure(path, error) : error;
  });
  return audioCodecOf(linesOf(text.stderr));
}

async function probeStream(path: string, signal: AbortSignal | undefined): Promise<MediaInfo> {
  // Decoding one frame proves that there is one, and framecrc's header gives its size after rotation.
  const text = await runFfmpeg({
    inputs: [{ source: path, options: ['-max_pixels', String(maxPixels)] }],
    options: ['-map', '0:V:0', '-frames:v', '1', '-map_metadata', '-1', '-f', 'framecrc'],
    output: 'pipe:1',
    logLevel: 'info',
    signal,
  }).catch((error: unknown) => {
    if (error instanceof FfmpegError) {
      checkLimits(path, codedSize(linesOf(error.stderrTail)));
      throw readFailure(path, error);
    }
    throw error;
  });
  const description = linesOf(text.stderr);
  checkLimits(path, codedSize(description));
  return describeStream(path, description, text.stdout);
}

/**
 * Returns the lines in which ffmpeg describes its input, from its duration on. Titles and the like are among them: they may hold what
 * JavaScript takes for the end of a line, and begin with any word, but after four blanks or, of a stream, after six.
 */
function linesOf(stderr: string): string[] {
  const lines = stderr.split(/\r?\n/);
  const start = lines.findIndex((line) => line.startsWith('  Duration: '));
  const end = lines.findIndex((line) => line.startsWith('Stream mapping:'));
  return lines.slice(Math.max(0, start), end === -1 ? undefined : end);
}

/** Returns what the pattern finds in the first line that it fits. */
function firstMatch(lines: readonly string[], pattern: RegExp): RegExpExecArray | undefined {
  for (const line of lines) {
    const match = pattern.exec(line);
    if (match !== null) return match;
  }
  return undefined;
}

function describeStream(path: string, description: readonly string[], firstFrame: string): MediaInfo {
  const video = videoLine(description);
  const coded = codedSize(description);
  const dimensions = /^#dimensions 0: (\d+)x(\d+)$/m.exec(firstFrame);
  if (video === undefined || coded === undefined || dimensions === null || !/^0,/m.test(firstFrame)) {
    throw new MediaError(`Expected ${path} to hold at least one picture, got none. Check that the file is whole.`);
  }
  const [, numerator = '0', denominator = '0'] = /^#sar 0: (\d+)\/(\d+)$/m.exec(firstFrame) ?? [];
  const sampleAspect = Number(numerator) > 0 && Number(denominator) > 0 ? Number(numerator) / Number(denominator) : 1;
  const width = Math.max(1, Math.round(Number(dimensions[1]) * sampleAspect));
  const height = Number(dimensions[2]);
  checkLimits(path, { width, height });

  const [, codec = 'unknown'] = /Video: (\w+)/.exec(video) ?? [];
  const [, pixelFormat = '', details = ''] = /^[^,]*(?:\([^)]*\))?[^,]*, (\w+)(?:\(([^)]*)\))?/.exec(video) ?? [];
  const audioCodec = audioCodecOf(description);
  const isStill = codec === 'bmp';
  const frameRate = isStill ? 1 : frameRateOf(video, firstFrame);
  return {
    width,
    height,
    codedWidth: coded.width,
    codedHeight: coded.height,
    rotation: rotationOf(description),
    frameRate,
    // Of GIF and animated PNG ffmpeg tells the rate of their clock.
    peakFrameRate: ['bmp', 'gif', 'apng'].includes(codec) ? undefined : peakFrameRateOf(video, frameRate),
    durationSeconds: isStill ? 0 : durationOf(description),
    hasAudio: audioCodec !== undefined,
    audioCodec,
    isStill,
    hasAlpha:
      /^(yuva|rgba|bgra|argb|abgr|gbrap|ya\d|pal8)/.test(pixelFormat) ||
      firstMatch(description, /^ *alpha_mode +: 1$/) !== undefined,
    codec,
    colorMatrix: colorMatrixOf(details),
  };
}

function audioCodecOf(description: readonly string[]): string | undefined {
  return firstMatch(description, /^ {2,4}Stream #0:\d+.*?: Audio: (\w+)/)?.[1];
}

/** Returns the line that describes the first video stream that isn't cover art. */
function videoLine(description: readonly string[]): string | undefined {
  return description.find((line) => /^ {2,4}Stream #0:\d+.*?: Video: /.test(line) && !line.includes('(attached pic)'));
}

function codedSize(description: readonly string[]): { width: number; height: number } | undefined {
  const size = /, (\d+)x(\d+)[ ,]?/.exec(videoLine(description) ?? '');
  return size === null ? undefined : { width: Number(size[1]), height: Number(size[2]) };
}

function checkLimits(path: string, size: { width: number; height: number } | undefined): void {
  if (size === undefined || isWithinLimits(size.width, size.height)) return;
  throw tooLarge(path, `${size.width}x${size.height}`);
}

function rotationOf(description: readonly string[]): number {
  const [, counterClockwise = '0'] =
    firstMatch(description, /^ *display ?matrix: rotation of (-?[\d.]+) degrees$/i) ?? [];
  const quarterTurns = Math.round(-Number(counterClockwise) / 90);
  return (((quarterTurns % 4) + 4) % 4) * 90;
}

function frameRateOf(video: string, firstFrame: string): number {
  const [, shown, thousands] = /, ([\d.]+)(k?) fps/.exec(video) ?? [];
  const [, ticks = '0', perSecond = '0'] = /^#tb 0: (\d+)\/(\d+)$/m.exec(firstFrame) ?? [];
  const exact = Number(perSecond) / Number(ticks);
  const average = shown === undefined ? exact : Number(shown) * (thousands === 'k' ? 1000 : 1);
  // The text is rounded to two decimals; the time base is exact but tells nothing about a varying rate.
  return Math.abs(exact - average) <= 0.005 * average ? exact : average;
}

/** A rate above it is that of some clock, and not of pictures. */
const fastestPeak = 120;

function peakFrameRateOf(video: string, average: number): number | undefined {
  const peak = Number(/, ([\d.]+) tbr/.exec(video)?.[1] ?? 0);
  // Interlaced video has twice as many fields.
  const isFields = Math.abs(peak - 2 * average) < 0.02 * average;
  return peak > 1.25 * average && peak <= fastestPeak && !isFields ? peak : undefined;
}

function durationOf(description: readonly string[]): number | undefined {
  const duration = firstMatch(description, /^ {2}Duration: (\d+):(\d\d):(\d\d\.\d+)/);
  if (duration === undefined) return undefined;
  return Number(duration[1]) * 3600 + Number(duration[2]) * 60 + Number(duration[3]);
}

/** The parenthesis after the pixel format reads `range, matrix/primaries/transfer, scan`, the three one word when equal. */
function colorMatrixOf(details: string): string | undefined {
  const words = details
    .split(', ')
    .filter((word) => !/^(tv|pc|progressive|top|bottom|left|center|.* first)$/.test(word));
  const matrix = words[0]?.split('/')[0];
  return matrix === undefined || matrix === '' || matrix === 'unknown' || matrix === 'gbr' ? undefined : matrix;
}
