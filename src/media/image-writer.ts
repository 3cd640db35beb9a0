// Frames into PNG sequences and single images, through sharp.
import { mkdir, readdir, stat } from 'node:fs/promises';
import { basename, dirname, extname, join, resolve } from 'node:path';
import sharp from 'sharp';
import { expected, InvalidOptionError, OutputError, throwIfCancelled } from '../errors.js';
import { writeFailure } from './failures.js';
import type { Frame } from './frame.js';
import { xmpPacket } from './metadata.js';
import { checkFrame } from './pixels.js';
import { dropTemporary, keepTemporary, reserveTemporary } from './temporary-file.js';
import type { VideoWriter, VideoWriterOptions, WrittenVideo } from './write-frames.js';

const counter = /%0?(\d*)d/;

/** Returns a writer of one image, or of a sequence when the name is a folder or holds a counter such as `%04d`. */
export async function createImageWriter(path: string, options: VideoWriterOptions): Promise<VideoWriter> {
  const isFolder = /[\\/]$/.test(path);
  if (isFolder) {
    const present = await readdir(path).catch(() => []);
    if (present.length > 0) {
      throw new OutputError(
        `Expected folder ${path} to be new or empty, got ${present.length} entries. Empty it or choose another.`,
      );
    }
    return new ImageWriter(join(path, 'frame_%04d.png'), path, options);
  }
  return new ImageWriter(path, path, options);
}

class ImageWriter implements VideoWriter {
  readonly #pattern: string;
  readonly #path: string;
  readonly #options: VideoWriterOptions;
  readonly #isSequence: boolean;
  readonly #xmp: string | undefined;
  readonly #temporary: string;
  readonly #written: string[] = [];
  #state: 'open' | 'finished' | 'aborted' = 'open';

  constructor(pattern: string, path: string, options: VideoWriterOptions) {
    this.#pattern = pattern;
    this.#path = path;
    this.#options = options;
    this.#isSequence = counter.test(basename(pattern));
    this.#xmp = xmpPacket(options.metadata);
    this.#temporary = reserveTemporary(resolve(path));
  }

  async write(frame: Frame): Promise<void> {
    const { width, height, signal } = this.#options;
    throwIfCancelled(signal);
    if (this.#state !== 'open') throw new InvalidOptionError(expected('writer', 'open', this.#state));
    checkFrame(frame, width, height);
    const number = this.#written.length + 1;
    if (number > 1 && !this.#isSequence) {
      throw new InvalidOptionError(
        expected('number of frames', `1 for ${basename(this.#path)}`, 'more', 'Name a video, or a folder ending in /.'),
      );
    }
    const name = basename(this.#pattern).replace(counter, (_, digits: string) =>
      String(number).padStart(Number(digits), '0'),
    );
    try {
      await mkdir(this.#temporary, { recursive: true });
      const image = sharp(frame.data, { raw: { width, height, channels: 3 } });
      const extension = extname(name).toLowerCase();
      if (extension === '.png') image.png();
      else if (extension === '.webp') image.webp({ lossless: true });
      else image.jpeg({ quality: 95, chromaSubsampling: '4:4:4' });
      if (this.#xmp !== undefined) image.withXmp(this.#xmp);
      await image.toFile(join(this.#temporary, name));
      this.#written.push(name);
    } catch (error) {
      await this.abort();
      throw writeFailure(this.#path, error);
    }
  }

  async finish(): Promise<WrittenVideo> {
    throwIfCancelled(this.#options.signal);
    if (this.#state !== 'open') throw new InvalidOptionError(expected('writer', 'open', this.#state));
    if (this.#written.length === 0) throw new InvalidOptionError(expected('number of frames', 'at least 1', 0));
    try {
      const folder = dirname(resolve(this.#pattern));
      await mkdir(folder, { recursive: true });
      let sizeBytes = 0;
      for (const name of this.#written) {
        sizeBytes += (await stat(join(this.#temporary, name))).size;
        await keepTemporary(join(this.#temporary, name), join(folder, name));
      }
      await dropTemporary(this.#temporary);
      this.#state = 'finished';
      return { path: this.#path, sizeBytes, numFrames: this.#written.length };
    } catch (error) {
      await this.abort();
      throw writeFailure(this.#path, error);
    }
  }

  async abort(): Promise<void> {
    if (this.#state !== 'open') return;
    this.#state = 'aborted';
    await dropTemporary(this.#temporary);
  }
}
