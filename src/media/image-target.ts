// Frames into PNG sequences and single images, through sharp.
import { mkdir, readdir, rename, rm, rmdir, stat } from 'node:fs/promises';
import { basename, dirname, extname, join, resolve } from 'node:path';
import sharp from 'sharp';
import { expected, InvalidOptionError, OutputError, throwIfCancelled } from '../errors.js';
import type { Frame } from './frame.js';
import { xmpPacket } from './metadata.js';
import type { OutputTarget, VideoWriterOptions } from './output-target.js';
import { dropTemporary, keepTemporary, reserveTemporary } from './temporary-file.js';

const counter = /%0?(\d*)d/;

/** Returns where frames become one image, or a numbered sequence for a folder or a name with a counter such as `%04d`. */
export async function createImageTarget(path: string, options: VideoWriterOptions): Promise<OutputTarget> {
  const isFolder = /[\\/]$/.test(path);
  const isSequence = counter.test(basename(path));
  const { numFrames = 1 } = options;
  if (!isFolder && !isSequence && numFrames > 1) throw tooMany(path, numFrames);
  // Frames of an older, longer run would look like part of this one.
  const present = isFolder || isSequence ? await readdir(isFolder ? path : dirname(path)).catch(() => []) : [];
  const inTheWay = isFolder ? present : present.filter((name) => isOfSequence(basename(path), name));
  if (inTheWay.length > 0) {
    throw new OutputError(
      isFolder
        ? `Expected folder ${path} to be new or empty, got ${inTheWay.length} entries. Empty it or choose another.`
        : `Expected ${path} to be a name that no file has, got ${inTheWay.length} that have it. Remove them or choose another.`,
    );
  }
  return new ImageTarget(path, isFolder, options);
}

function isOfSequence(pattern: string, name: string): boolean {
  // Some file systems tell no capitals.
  const [whole, named] = [pattern.toLowerCase(), name.toLowerCase()];
  const [found = ''] = counter.exec(whole) ?? [];
  const [before, after] = [whole.slice(0, whole.indexOf(found)), whole.slice(whole.indexOf(found) + found.length)];
  return named.startsWith(before) && named.endsWith(after) && /^\d+$/.test(named.slice(before.length, -after.length));
}

function tooMany(path: string, numFrames: number | string): InvalidOptionError {
  return new InvalidOptionError(
    expected('number of frames', `1 for ${basename(path)}`, numFrames, 'Name a video, or a folder ending in /.'),
  );
}

class ImageTarget implements OutputTarget {
  readonly #path: string;
  readonly #asFolder: boolean;
  readonly #pattern: string;
  readonly #xmp: string | undefined;
  readonly #signal: AbortSignal | undefined;
  /** A folder, beside the output, that the images are made in. */
  readonly #folder: string;
  readonly #names: string[] = [];
  #making: Promise<unknown> = Promise.resolve();

  constructor(path: string, asFolder: boolean, options: VideoWriterOptions) {
    this.#path = path;
    this.#asFolder = asFolder;
    this.#pattern = asFolder ? 'frame_%04d.png' : basename(path);
    this.#xmp = xmpPacket(options.metadata);
    this.#signal = options.signal;
    this.#folder = reserveTemporary(resolve(path));
  }

  async write(frame: Frame): Promise<void> {
    const number = this.#names.length + 1;
    const pattern = this.#pattern;
    if (number > 1 && !counter.test(pattern)) {
      throw tooMany(pattern, 'more');
    }
    const name = pattern.replace(counter, (_, digits: string) => String(number).padStart(Number(digits), '0'));
    this.#names.push(name);
    this.#making = this.#make(frame, name);
    await this.#making;
  }

  async complete(): Promise<number> {
    const sizes = await Promise.all(this.#names.map(async (name) => (await stat(join(this.#folder, name))).size));
    throwIfCancelled(this.#signal);
    if (this.#asFolder) {
      await rmdir(this.#path).catch(() => {}); // there and empty, or not there
      await keepTemporary(this.#folder, resolve(this.#path));
    } else {
      await this.#moveOut();
    }
    return sizes.reduce((sum, size) => sum + size, 0);
  }

  async discard(): Promise<void> {
    await this.#making.catch(() => {}); // sharp can't be interrupted, and would write after the removal
    await dropTemporary(this.#folder);
  }

  async #moveOut(): Promise<void> {
    const moved: string[] = [];
    try {
      for (const name of this.#names) {
        const target = join(dirname(resolve(this.#path)), name);
        await rename(join(this.#folder, name), target);
        moved.push(target);
      }
    } catch (error) {
      await Promise.all(moved.map((path) => rm(path, { force: true })));
      throw error;
    }
    await dropTemporary(this.#folder);
  }

  async #make({ width, height, data }: Frame, name: string): Promise<void> {
    await mkdir(this.#folder, { recursive: true });
    const image = sharp(data, { raw: { width, height, channels: 3 } });
    const extension = extname(name).toLowerCase();
    if (extension === '.png') image.png();
    else if (extension === '.webp') image.webp({ lossless: true });
    else image.jpeg({ quality: 95, chromaSubsampling: '4:4:4' });
    if (this.#xmp !== undefined) image.withXmp(this.#xmp);
    await image.toFile(join(this.#folder, name));
  }
}
