// Writes safetensors files: beside their place first, and renamed there when whole, so that no reader meets half a file.
import { randomUUID } from 'node:crypto';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { expected, InvalidOptionError, OutputError } from '../errors.js';
import { buildHeader, type SafetensorsEntry } from './safetensors-header.js';
import { axis, sizeOf, type Tensor } from './tensor.js';

/** A file of float32 tensors, written slice by slice along the time axis as the slices come, in any order. */
export class SafetensorsWriter {
  readonly #path: string;
  readonly #temporaryPath: string;
  readonly #handle: FileHandle;
  readonly #entries: ReadonlyMap<string, SafetensorsEntry>;
  /** A mark for each time position of each tensor: 1 once written. */
  readonly #written: ReadonlyMap<string, Uint8Array>;
  #closed = false;

  private constructor(
    path: string,
    temporaryPath: string,
    handle: FileHandle,
    entries: ReadonlyMap<string, SafetensorsEntry>,
  ) {
    this.#path = path;
    this.#temporaryPath = temporaryPath;
    this.#handle = handle;
    this.#entries = entries;
    this.#written = new Map([...entries].map(([name, { shape }]) => [name, new Uint8Array(timeLength(shape))]));
  }

  /** Returns a writer for tensors of these names and shapes; call `finish` or `abort` in the end. Throws OutputError. */
  static async create(
    path: string,
    shapes: Readonly<Record<string, readonly number[]>>,
    metadata: Readonly<Record<string, string>> = {},
  ): Promise<SafetensorsWriter> {
    const { bytes, header, fileBytes } = buildHeader(new Map(Object.entries(shapes)), metadata);
    const temporaryPath = `${path}.${randomUUID()}.part`;
    const handle = await attempt(path, () => open(temporaryPath, 'wx'));
    const writer = new SafetensorsWriter(path, temporaryPath, handle, header.entries);
    try {
      await attempt(path, () => handle.truncate(fileBytes));
      await writer.#writeAt(bytes, 0);
    } catch (error) {
      await writer.abort();
      throw error;
    }
    return writer;
  }

  /**
   * Writes `part` into the named tensor from time position `start` on. A tensor with fewer than three axes is written
   * whole, from 0. Resolves when the bytes are with the system, after which `part` may be reused. Throws OutputError.
   */
  async write(name: string, part: Tensor, start = 0): Promise<void> {
    const entry = this.#entries.get(name);
    const written = this.#written.get(name);
    if (entry === undefined || written === undefined) {
      throw new InvalidOptionError(expected('tensor name', `one of ${[...this.#entries.keys()].join(', ')}`, name));
    }
    const { shape, byteOffset } = entry;
    const length = timeLength(part.shape);
    const end = start + length;
    const fits =
      part.shape.length === shape.length &&
      part.shape.every((size, index) => size === shape[index] || (index === axis.time && size <= written.length));
    if (!fits || !Number.isInteger(start) || start < 0 || end > written.length) {
      throw new InvalidOptionError(
        expected(`part of ${name}`, `to fit [${shape.join(', ')}] at ${start}`, [...part.shape]),
      );
    }
    const inner = sizeOf(shape.slice(axis.time + 1)) * Float32Array.BYTES_PER_ELEMENT;
    const run = shape.length > axis.time ? length * inner : part.data.byteLength;
    const bytes = new Uint8Array(part.data.buffer, part.data.byteOffset, part.data.byteLength);
    for (let row = 0; row * run < bytes.length; row++) {
      const position = byteOffset + (row * written.length + start) * inner;
      await this.#writeAt(bytes.subarray(row * run, (row + 1) * run), position);
    }
    written.fill(1, start, end);
  }

  /** Puts the file in its place. Throws InvalidOptionError while a slice is missing, OutputError when it can't be put there. */
  async finish(): Promise<void> {
    for (const [name, written] of this.#written) {
      const missing = written.indexOf(0);
      if (missing >= 0) {
        throw new InvalidOptionError(
          expected(`tensor ${name}`, 'written whole before finish', `nothing at ${missing}`),
        );
      }
    }
    try {
      await attempt(this.#path, async () => {
        await this.#close();
        await rename(this.#temporaryPath, this.#path);
      });
    } catch (error) {
      await this.abort();
      throw error;
    }
  }

  /** Deletes what was written. Does nothing after `finish`. */
  async abort(): Promise<void> {
    await this.#close();
    await rm(this.#temporaryPath, { force: true });
  }

  async #close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#handle.close();
  }

  async #writeAt(bytes: Uint8Array, position: number): Promise<void> {
    await attempt(this.#path, async () => {
      let done = 0;
      while (done < bytes.length) {
        const { bytesWritten } = await this.#handle.write(bytes, done, bytes.length - done, position + done);
        done += bytesWritten;
      }
    });
  }
}

/** Writes float32 tensors to a file of their own, which is there whole or not at all. Throws OutputError. */
export async function writeSafetensors(
  path: string,
  tensors: Readonly<Record<string, Tensor>>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  const shapes = Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, tensor.shape]));
  const writer = await SafetensorsWriter.create(path, shapes, metadata);
  try {
    for (const [name, tensor] of Object.entries(tensors)) await writer.write(name, tensor);
    await writer.finish();
  } catch (error) {
    await writer.abort();
    throw error;
  }
}

/** Returns how many slices a tensor has; one that has no time axis counts as a single slice. */
function timeLength(shape: readonly number[]): number {
  return shape[axis.time] ?? 1;
}

async function attempt<T>(path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new OutputError(`${path} can't be written: ${reason}.`, {
      cause,
      hint: 'Check the folder, its permissions and free space.',
    });
  }
}
