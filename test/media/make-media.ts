// Media files for the tests, made by ffmpeg itself in a temporary folder.
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { promisify } from 'node:util';
import { findFfmpeg } from '../../src/media/ffmpeg.js';
import type { Frame } from '../../src/media/frame.js';
import type { VideoWriterOptions } from '../../src/media/output-target.js';
import { readFrames } from '../../src/media/read-frames.js';
import type { ReadFramesOptions } from '../../src/media/read-options.js';
import { createVideoWriter, type WrittenVideo } from '../../src/media/write-frames.js';

export type Rgb = readonly [number, number, number];

/** Returns a folder that is removed when the tests of the file are done. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'reelspace-media-'));
  after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** Runs ffmpeg with these arguments and returns what it printed on stderr. */
export async function ffmpeg(...options: string[]): Promise<string> {
  const { path } = await findFfmpeg();
  const { stderr } = await promisify(execFile)(path, ['-nostdin', '-hide_banner', '-y', ...options], {
    maxBuffer: 1 << 26,
  });
  return stderr;
}

/** Returns ffmpeg's description of a file. */
export async function describe(path: string): Promise<string> {
  return (await ffmpeg('-i', path, '-c', 'copy', '-f', 'null', '-')).split('Stream mapping:')[0] ?? '';
}

/** Returns a frame whose colour is a function of the place. */
export function drawFrame(width: number, height: number, colorAt: (x: number, y: number) => Rgb): Frame {
  const data = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) data.set(colorAt(x, y), (y * width + x) * 3);
  }
  return { width, height, data };
}

/** Returns a frame of one colour. */
export function solidFrame(width: number, height: number, color: Rgb): Frame {
  return drawFrame(width, height, () => color);
}

/** Colours that a wrong matrix or range moves far. */
export const patchColors: readonly Rgb[] = [
  [255, 0, 0],
  [0, 255, 0],
  [0, 0, 255],
  [255, 255, 255],
  [0, 0, 0],
  [128, 128, 128],
  [200, 100, 50],
  [40, 180, 220],
];

/** Returns a row of coloured patches. */
export function patchFrame(patch: number): Frame {
  return drawFrame(patch * patchColors.length, patch, (x) => patchColors[Math.floor(x / patch)] ?? [0, 0, 0]);
}

/** Returns the largest difference between the patches' middles and their true colours. */
export function patchError(frame: Frame): number {
  const patch = frame.width / patchColors.length;
  const errors = patchColors.flatMap((color, index) => {
    const seen = colorAt(frame, Math.floor((index + 0.5) * patch), Math.floor(frame.height / 2));
    return color.map((level, channel) => Math.abs(level - (seen[channel] ?? 0)));
  });
  return Math.max(...errors);
}

/** Returns the colour of one pixel. */
export function colorAt(frame: Frame, x: number, y: number): Rgb {
  const [red = 0, green = 0, blue = 0] = frame.data.subarray((y * frame.width + x) * 3);
  return [red, green, blue];
}

/** Encodes frames with any ffmpeg arguments. */
export async function encode(
  frames: readonly Frame[],
  frameRate: number,
  path: string,
  ...options: string[]
): Promise<string> {
  const [first] = frames;
  if (first === undefined) throw new Error('no frames');
  const raw = `${path}.raw`;
  await writeFile(raw, Buffer.concat(frames.map((frame) => frame.data)));
  const size = `${first.width}x${first.height}`;
  await ffmpeg('-f', 'rawvideo', '-pix_fmt', 'rgb24', '-s', size, '-r', String(frameRate), '-i', raw, ...options, path);
  await rm(raw);
  return path;
}

/** Makes a moving test picture, with a tone when `audioSeconds` is given. */
export async function testClip(
  path: string,
  clip: { size?: string; rate?: number; seconds?: number; audioSeconds?: number; options?: string[] } = {},
): Promise<string> {
  const { size = '64x48', rate = 10, seconds = 2, audioSeconds, options = [] } = clip;
  const tone = audioSeconds === undefined ? [] : ['-f', 'lavfi', '-i', `sine=frequency=440:duration=${audioSeconds}`];
  await ffmpeg(
    '-f',
    'lavfi',
    '-i',
    `testsrc2=size=${size}:rate=${rate}:duration=${seconds}`,
    ...tone,
    ...options,
    path,
  );
  return path;
}

/** Returns all frames of a file. */
export async function readAll(path: string, options: ReadFramesOptions = {}): Promise<Frame[]> {
  const frames: Frame[] = [];
  for await (const frame of readFrames(path, options)) frames.push(frame);
  return frames;
}

/** Returns the first frame of a file. */
export async function readFirst(path: string, options: ReadFramesOptions = {}): Promise<Frame> {
  const [frame] = await readAll(path, { ...options, maxFrames: 1 });
  if (frame === undefined) throw new Error('no frame');
  return frame;
}

/** Writes all frames to a file. */
export async function writeAll(
  path: string,
  frames: readonly Frame[],
  options: Partial<VideoWriterOptions> = {},
): Promise<WrittenVideo> {
  const { width = 0, height = 0 } = frames[0] ?? {};
  const writer = await createVideoWriter(path, { width, height, frameRate: 10, ...options });
  for (const frame of frames) await writer.write(frame);
  return writer.finish();
}

/** Returns the peak signal-to-noise ratio of two frames in dB. */
export function psnr(a: Frame, b: Frame): number {
  let squares = 0;
  a.data.forEach((level, index) => {
    squares += (level - (b.data[index] ?? 0)) ** 2;
  });
  return 10 * Math.log10((255 * 255 * a.data.length) / squares);
}

/** Turns an MP4's picture clockwise for display, by the matrix of its first track (ISO/IEC 14496-12, tkhd). */
export async function setRotation(path: string, degrees: 90 | 180 | 270): Promise<void> {
  const file = await readFile(path);
  const matrix = file.indexOf('tkhd') + 44;
  const one = 1 << 16;
  const [a, b, c, d] = { 90: [0, one, -one, 0], 180: [-one, 0, 0, -one], 270: [0, -one, one, 0] }[degrees];
  [a, b, 0, c, d, 0].forEach((value, index) => {
    file.writeInt32BE(value ?? 0, matrix + index * 4);
  });
  await writeFile(path, file);
}

/** Returns the ids of the processes that this one started and that still run, from Linux's process list. */
export async function childProcesses(): Promise<number[]> {
  const { stdout } = await promisify(execFile)('sh', ['-c', 'cat /proc/[0-9]*/stat 2>/dev/null']).catch(
    (error: { stdout?: string }) => ({ stdout: error.stdout ?? '' }),
  );
  return stdout.split('\n').flatMap((line) => {
    const [, pid, name, state, parent] = /^(\d+) \((.*)\) (\S) (\d+)/.exec(line) ?? [];
    return Number(parent) === process.pid && state !== 'Z' && name !== 'sh' && name !== 'cat' ? [Number(pid)] : [];
  });
}
