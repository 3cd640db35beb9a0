// Still images and animated WebP, through sharp.
import { readFile } from 'node:fs/promises';
import sharp from 'sharp';
import { MediaError, throwIfCancelled } from '../errors.js';
import { tooLarge } from './failures.js';
import type { FitPlan } from './fit.js';
import { type Frame, isWithinLimits, maxPixels } from './frame.js';
import type { MediaInfo } from './media-info.js';
import type { ReadFramesOptions } from './read-options.js';
import { fitFrame } from './resize.js';

const white = { r: 255, g: 255, b: 255 };
/** Shown for a frame whose delay is 0, as browsers do. */
const defaultDelayMs = 100;
/** Decoded bytes of an animation that are held at once. */
const batchBytes = 64 << 20;

interface OpenImage {
  path: string;
  /** The file as it is: sharp would take brackets in a name for loader options. */
  bytes: Buffer;
  info: MediaInfo;
  /** How long each picture of an animation is shown. */
  delaysMs: number[];
}

/** Returns what an image file holds. Throws MediaError. */
export async function probeStill(path: string): Promise<MediaInfo> {
  return (await openImage(path)).info;
}

/** Yields the one frame of a still image, or those of an animation at an even rate. Throws MediaError, CancelledError. */
export async function* readStillFrames(
  path: string,
  plan: FitPlan,
  options: ReadFramesOptions,
): AsyncGenerator<Frame, void, undefined> {
  const image = await openImage(path);
  const { startSeconds = 0, maxFrames = Number.POSITIVE_INFINITY, frameRate = image.info.frameRate } = options;
  if (image.info.isStill) {
    for await (const picture of decodePictures(image)) yield await fitFrame(picture, plan);
    return;
  }
  const { delaysMs } = image;
  let index = 0;
  let endMs = 0;
  let numFrames = 0;
  for await (const picture of decodePictures(image)) {
    endMs += delaysMs[index++] ?? 0;
    let shown: Frame | undefined;
    while (numFrames < maxFrames && (startSeconds + numFrames / frameRate) * 1000 < endMs) {
      throwIfCancelled(options.signal);
      shown = shown === undefined ? await fitFrame(picture, plan) : { ...shown, data: shown.data.slice() };
      numFrames++;
      yield shown;
    }
    if (numFrames >= maxFrames) return;
  }
}

/** Opens an image and reads its header. Throws MediaError. */
export async function openImage(path: string): Promise<OpenImage> {
  const bytes = await readFile(path).catch((error: unknown) => {
    throw damaged(path, error);
  });
  // No limit for the header, so that the error can name the size.
  const metadata = await sharp(bytes, { limitInputPixels: false })
    .metadata()
    .catch((error: unknown) => {
      throw damaged(path, error);
    });
  const animated = metadata.format === 'webp' && (metadata.pages ?? 1) > 1;
  const { width } = metadata.autoOrient;
  const height = animated ? (metadata.pageHeight ?? metadata.height) : metadata.autoOrient.height;
  if (!isWithinLimits(width, height)) {
    throw tooLarge(path, `${width}x${height}`);
  }
  const delaysMs = animated ? (metadata.delay ?? []).map((delay) => (delay > 0 ? delay : defaultDelayMs)) : [];
  const durationSeconds = delaysMs.reduce((sum, delay) => sum + delay, 0) / 1000;
  return {
    path,
    bytes,
    delaysMs,
    info: {
      width,
      height,
      codedWidth: metadata.width,
      codedHeight: animated ? height : metadata.height,
      rotation: rotationOf(metadata.orientation ?? 1),
      frameRate: animated ? delaysMs.length / durationSeconds : 1,
      peakFrameRate: undefined,
      durationSeconds,
      hasAudio: false,
      audioCodec: undefined,
      isStill: !animated,
      hasAlpha: metadata.hasAlpha,
      codec: metadata.format,
      colorMatrix: undefined,
    },
  };
}

/** Yields the pictures at their own size, upright, in sRGB, over white. An animation is decoded in batches. */
async function* decodePictures(image: OpenImage): AsyncGenerator<Frame, void, undefined> {
  const { width, height, isStill } = image.info;
  const pictureBytes = width * height * 3;
  const total = isStill ? 1 : image.delaysMs.length;
  const batch = Math.max(1, Math.floor(batchBytes / pictureBytes));
  for (let first = 0; first < total; first += batch) {
    const pages = Math.min(batch, total - first);
    // limitInputPixels counts the pictures of a batch together.
    const input = sharp(image.bytes, {
      failOn: 'error', // cut-off files too, but not the oddities of cameras
      limitInputPixels: maxPixels * pages,
      ...(isStill ? {} : { page: first, pages }),
    });
    const decoded = await (isStill ? input.autoOrient() : input)
      .flatten({ background: white })
      .toColourspace('srgb')
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true })
      .catch((error: unknown) => {
        throw damaged(image.path, error);
      });
    const data = decoded.info.channels === 3 ? decoded.data : repeatGrey(decoded.data);
    for (let page = 0; page < pages; page++) {
      yield { width, height, data: data.subarray(page * pictureBytes, (page + 1) * pictureBytes) };
    }
  }
}

function repeatGrey(grey: Uint8Array): Uint8Array {
  const data = new Uint8Array(grey.length * 3);
  grey.forEach((level, at) => {
    data.fill(level, at * 3, at * 3 + 3);
  });
  return data;
}

/** Returns the clockwise turn that an EXIF orientation (TIFF 6.0, tag 274) asks for. */
function rotationOf(orientation: number): number {
  if (orientation === 3 || orientation === 4) return 180;
  if (orientation === 5 || orientation === 6) return 90;
  return orientation === 7 || orientation === 8 ? 270 : 0;
}

/** Returns the error for an image that breaks off or is none. */
export function damaged(path: string, cause: unknown): MediaError {
  const reason = cause instanceof Error ? (cause.message.split('\n')[0] ?? '') : String(cause);
  return new MediaError(
    `Expected ${path} to be a whole image in a known format, got one that can't be decoded (${reason}). Save it again as PNG.`,
    { cause },
  );
}
