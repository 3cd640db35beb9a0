// Frames of a video, GIF or image, one at a time, decoded only as fast as they are taken.
import { expected, FfmpegError, InvalidOptionError, MediaError } from '../errors.js';
import { startFfmpeg } from './command.js';
import { readFailure } from './failures.js';
import { type FitPlan, planFit } from './fit.js';
import { checkFrameRate, checkSize, type Frame, maxPixels } from './frame.js';
import { FrameSink } from './frame-sink.js';
import type { MediaInfo } from './media-info.js';
import { detectMediaKind } from './media-kind.js';
import { probe } from './probe.js';
import type { ReadFramesOptions } from './read-options.js';

/**
 * Yields frames as displayed: rotated, with square pixels, transparency over white, sRGB-like 8-bit colour. Frame k is
 * the file's nearest to `startSeconds + k / frameRate`. Each belongs to the receiver. A still image yields one.
 *
 * Leaving the loop ends ffmpeg. A file that breaks off yields the frames up to there and then throws MediaError, so that a
 * part is never taken for the whole (a GIF or MPEG transport stream doesn't tell). Damage in the middle is concealed by the
 * decoder, as in players. Throws InvalidOptionError, MediaError, CancelledError.
 */
export async function* readFrames(
  path: string,
  options: ReadFramesOptions = {},
): AsyncGenerator<Frame, void, undefined> {
  checkOptions(options);
  const info = await probe(path, { signal: options.signal });
  const plan = planFit(info, options.width, options.height, options.fit ?? 'cover');
  checkSize(plan.frame.width, plan.frame.height);
  const isStream = (await detectMediaKind(path)) === 'stream';
  const frames = isStream
    ? readStream(path, info, plan, options)
    : (await import('./still.js')).readStillFrames(path, plan, options);
  let isEmpty = true;
  for await (const frame of frames) {
    isEmpty = false;
    yield frame;
  }
  if (isEmpty) throw noFrames(path, options.startSeconds ?? 0);
}

async function* readStream(
  path: string,
  info: MediaInfo,
  plan: FitPlan,
  options: ReadFramesOptions,
): AsyncGenerator<Frame, void, undefined> {
  const sink = new FrameSink(plan.frame.width, plan.frame.height);
  const { startSeconds = 0, frameRate = info.frameRate } = options;
  const isShort = (info.durationSeconds ?? Number.POSITIVE_INFINITY) * frameRate < 1;
  const maxFrames = isShort ? 1 : options.maxFrames;
  const timing = isShort ? [] : evenTiming(info.frameRate, frameRate);
  const run = await startFfmpeg({
    inputs: [
      {
        source: path,
        options: [
          ...(startSeconds > 0 ? ['-ss', String(startSeconds)] : []),
          ...['-max_pixels', String(maxPixels)],
          ...alphaDecoder(info),
        ],
      },
    ],
    options: [
      ...['-map', '0:V:0', '-vf', [...timing, ...pictureFilters(info, plan)].join(',')],
      ...(maxFrames === undefined ? [] : ['-frames:v', String(maxFrames)]),
      ...['-f', 'rawvideo', '-pix_fmt', 'rgb24'],
    ],
    output: sink,
    signal: options.signal,
  });
  let numFrames = 0;
  // Only a killed ffmpeg leaves the sink open: else its end arrives through the pipe, after the last frame.
  run.done.catch((error: unknown) => {
    if (!(error instanceof FfmpegError)) sink.close();
  });
  try {
    for (let frame = await sink.take(); frame !== undefined; frame = await sink.take()) {
      numFrames++;
      yield frame;
    }
    const { stderr } = await run.done;
    // Newer ffmpeg reads ahead, and finds damage behind the last frame that was asked for.
    if (numFrames > 0 && numFrames !== maxFrames && cutOffSigns.test(stderr)) throw cutOff(path, numFrames);
  } catch (error) {
    throw error instanceof FfmpegError ? readFailure(path, error) : error;
  } finally {
    await run.kill();
  }
}

/** What ffmpeg's demuxers print when a file ends too early; it then goes on as if that were the end. */
const cutOffSigns = /partial file|File ended prematurely|Read error|Truncating packet|Error during demuxing/;

function cutOff(path: string, numFrames: number): MediaError {
  return new MediaError(
    `Expected ${path} to be whole, got a file that breaks off after ${numFrames} frames. Copy or download it again, or read fewer frames.`,
  );
}

function noFrames(path: string, startSeconds: number): Error {
  if (startSeconds > 0) return startsTooLate(path, startSeconds);
  return new MediaError(`Expected ${path} to hold pictures that decode, got none. Check that the file is whole.`);
}

/** Returns the error for a start where a clip has no frame any more. */
export function startsTooLate(path: string, startSeconds: number): InvalidOptionError {
  return new InvalidOptionError(expected('startSeconds', `before the end of ${path}`, startSeconds, 'Start earlier.'));
}

/** ffmpeg's own VP8 and VP9 decoders drop the alpha channel of WebM. */
function alphaDecoder(info: MediaInfo): string[] {
  if (!info.hasAlpha) return [];
  if (info.codec === 'vp9') return ['-c:v', 'libvpx-vp9'];
  return info.codec === 'vp8' ? ['-c:v', 'libvpx'] : [];
}

function pictureFilters(info: MediaInfo, plan: FitPlan): string[] {
  const { frame, scaled } = plan;
  const filters: string[] = [];
  if (info.hasAlpha) {
    // Before scaling, so that the colour hidden under transparent pixels doesn't bleed into the edges.
    filters.push(
      'format=rgba,split[fg][copy];[copy]lutrgb=r=255:g=255:b=255:a=255[white];[white][fg]overlay=format=rgb',
    );
  }
  const matrix = info.colorMatrix === undefined && isHighDefinition(info) ? ':in_color_matrix=bt709' : '';
  filters.push(
    `scale=${scaled.width}:${scaled.height}:flags=lanczos+accurate_rnd+full_chroma_int+full_chroma_inp${matrix}`,
    'format=rgb24',
  );
  if (scaled.width > frame.width || scaled.height > frame.height) filters.push(`crop=${frame.width}:${frame.height}`);
  if (scaled.width < frame.width || scaled.height < frame.height) {
    filters.push(`pad=${frame.width}:${frame.height}:(ow-iw)/2:(oh-ih)/2`);
  }
  return filters;
}

/**
 * Gives each output time the frame nearest to it. The fps filter rounds the frames' times to the output's grid, so that of
 * several frames on one point the last would win; delaying them all makes it the nearest.
 */
function evenTiming(sourceRate: number, frameRate: number): string[] {
  const delaySeconds = 0.5 / frameRate - 0.5 / sourceRate;
  const fps = `fps=fps=${frameRate}:round=near:start_time=0`;
  return delaySeconds > 0 ? ['settb=AVTB', `setpts=PTS+${delaySeconds.toFixed(6)}/TB`, fps] : [fps];
}

/** Untagged video follows the custom of players: BT.709 from 720 lines on, else BT.601 (swscale's default). */
function isHighDefinition(info: MediaInfo): boolean {
  return info.codedWidth >= 1280 || info.codedHeight >= 720;
}

function checkOptions(options: ReadFramesOptions): void {
  checkSize(options.width ?? 1, options.height ?? 1);
  if (options.frameRate !== undefined) checkFrameRate(options.frameRate);
  const { startSeconds, maxFrames } = options;
  if (startSeconds !== undefined && !(Number.isFinite(startSeconds) && startSeconds >= 0)) {
    throw new InvalidOptionError(expected('startSeconds', 'a number of at least 0', startSeconds));
  }
  if (maxFrames !== undefined && !(Number.isInteger(maxFrames) && maxFrames >= 1)) {
    throw new InvalidOptionError(expected('maxFrames', 'a whole number of at least 1', maxFrames));
  }
}
