// Still images and animated WebP, through sharp.
import { readFile } from 'node:fs/promises';
import sharp from 'sharp';
import { MediaError, throwIfCancelled } from '../errors.js';
import type { FitPlan } from './fit.js';
import { type Frame, isWithinLimits, maxPixels, sizeLimit } from './frame.js';
import type { MediaInfo } from './probe.js';

const white = { r: 255, g: 255, b: 255 };
const black = { r: 0, g: 0, b: 0 };
/** Delay of a frame that names none: what browsers use. */
const defaultDelayMs = 100;

/** Returns what an image file holds. Throws MediaError. */
export async function probeStill(path: string): Promise<MediaInfo> {
  const image = await openImage(path);
  return image.info;
}

/** Yields the one frame of a still image, or those of an animation at an even rate. */
export async function* readStillFrames(
  path: string,
  plan: FitPlan,
  options: {
    frameRate?: number | undefined;
    startSeconds?: number | undefined;
    maxFrames?: number | undefined;
    signal?: AbortSignal | undefined;
  },
): AsyncGenerator<Frame, void, undefined> {
  const image = await openImage(path);
  if (image.info.isStill) {
    yield await renderPage(path, image.file, 0, plan);
    return;
  }
  const { startSeconds = 0, maxFrames = Number.POSITIVE_INFINITY } = options;
  const frameRate = options.frameRate ?? image.info.frameRate;
  let endMs = 0;
  let next = 0;
  for (const [page, delayMs] of image.delaysMs.entries()) {
    endMs += delayMs;
    let rendered: Frame | undefined;
    while (next < maxFrames && (startSeconds + next / frameRate) * 1000 < endMs) {
      throwIfCancelled(options.signal);
      rendered = rendered === undefined ? await renderPage(path, image.file, page, plan) : copyOf(rendered);
      next++;
      yield rendered;
    }
    if (next >= maxFrames) return;
  }
}

function copyOf(frame: Frame): Frame {
  return { ...frame, data: frame.data.slice() };
}

interface OpenImage {
  file: Buffer;
  info: MediaInfo;
  delaysMs: number[];
}

async function openImage(path: string): Promise<OpenImage> {
  // By content: sharp would take brackets in a name for loader options.
  const file = await readFile(path);
  try {
    const metadata = await sharp(file).metadata();
    const { width, height } = metadata.autoOrient;
    const pages = metadata.pages ?? 1;
    const pageHeight = metadata.pageHeight ?? height;
    if (!isWithinLimits(width, pageHeight)) {
      throw new MediaError(`Expected ${path} to be ${sizeLimit}, got ${width}x${pageHeight}. Scale it down first.`);
    }
    const animated = metadata.format === 'webp' && pages > 1;
    const delaysMs = Array.from({ length: pages }, (_, page) => metadata.delay?.[page] || defaultDelayMs);
    const durationSeconds = animated ? delaysMs.reduce((sum, delay) => sum + delay, 0) / 1000 : 0;
    const rotation = [0, 0, 180, 180, 90, 90, 270, 270][(metadata.orientation ?? 1) - 1] ?? 0;
    return {
      file,
      delaysMs,
      info: {
        width,
        height: pageHeight,
        codedWidth: metadata.width,
        codedHeight: metadata.pageHeight ?? metadata.height,
        rotation,
        frameRate: animated ? pages / durationSeconds : 1,
        durationSeconds,
        hasAudio: false,
        audioCodec: undefined,
        isStill: !animated,
        hasAlpha: metadata.hasAlpha,
        codec: metadata.format,
        colorMatrix: undefined,
      },
    };
  } catch (error) {
    throw error instanceof MediaError ? error : damaged(path, error);
  }
}

async function renderPage(path: string, file: Buffer, page: number, plan: FitPlan): Promise<Frame> {
  const { frame, scaled } = plan;
  try {
    const resized = await sharp(file, { page, limitInputPixels: maxPixels })
      .autoOrient()
      .flatten({ background: white })
      .resize(scaled.width, scaled.height, { fit: 'fill', kernel: 'lanczos3' })
      .toColourspace('srgb')
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true });
    const { channels } = resized.info;
    const placed = sharp(resized.data, { raw: { width: scaled.width, height: scaled.height, channels } });
    const left = Math.floor(Math.abs(scaled.width - frame.width) / 2);
    const top = Math.floor(Math.abs(scaled.height - frame.height) / 2);
    if (scaled.width > frame.width || scaled.height > frame.height) placed.extract({ left, top, ...frame });
    if (scaled.width < frame.width || scaled.height < frame.height) {
      const right = frame.width - scaled.width - left;
      const bottom = frame.height - scaled.height - top;
      placed.extend({ left, top, right, bottom, background: black });
    }
    const data = await placed.toColourspace('srgb').raw().toBuffer();
    return { ...frame, data: new Uint8Array(data) };
  } catch (error) {
    throw damaged(path, error);
  }
}

function damaged(path: string, cause: unknown): MediaError {
  const reason = cause instanceof Error ? cause.message.split('\n')[0] : String(cause);
  return new MediaError(
    `Expected ${path} to be a whole image, got a damaged or unknown one (${reason}). Save it again.`,
    {
      cause,
    },
  );
}
