// Reads safetensors files (weights, adapters, saved latents), which come from anywhere: nothing in them is believed unchecked.
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { expected, FormatError, InvalidOptionError } from '../errors.js';
import {
  headerLimitBytes,
  lengthBytes,
  parseHeader,
  type SafetensorsEntry,
  type SafetensorsHeader,
} from './safetensors-header.js';
import { sizeOf, type Tensor } from './tensor.js';

export type { Dtype, SafetensorsEntry, SafetensorsHeader } from './safetensors-header.js';
export { SafetensorsWriter, writeSafetensors } from './safetensors-writer.js';

/** A safetensors file, open for reading single tensors. Close it when done. */
export interface SafetensorsFile extends SafetensorsHeader {
  /** Returns a tensor of type F32, F16 or BF16 as float32. Throws FormatError for a missing name or another type. */
  read(name: string): Promise<Tensor>;
  /** Returns the numbers of a tensor of type I64 or U8 as stored. Throws FormatError for a missing name or another type. */
  readIntegers(name: string): Promise<{ data: BigInt64Array | Uint8Array; shape: readonly number[] }>;
  close(): Promise<void>;
}

/** Returns names, types, shapes and metadata. Throws FormatError unless the whole file is laid out as the format says. */
export async function readSafetensorsHeader(path: string): Promise<SafetensorsHeader> {
  const file = await openSafetensors(path);
  await file.close();
  return { entries: file.entries, metadata: file.metadata };
}

/** Returns one tensor of type F32, F16 or BF16 as float32. */
export async function readTensor(path: string, name: string): Promise<Tensor> {
  const file = await openSafetensors(path);
  try {
    return await file.read(name);
  } finally {
    await file.close();
  }
}

/** Returns the open file, its header checked as by `readSafetensorsHeader`. */
export async function openSafetensors(path: string): Promise<SafetensorsFile> {
  const handle = await openFile(path);
  try {
    const header = await readHeader(handle, path);
    const find = (name: string): SafetensorsEntry => {
      const entry = header.entries.get(name);
      if (entry === undefined) throw new FormatError(`${path} holds no tensor named ${JSON.stringify(name)}.`);
      return entry;
    };
    return {
      ...header,
      read: async (name) => readFloats(handle, path, name, find(name)),
      readIntegers: async (name) => readIntegers(handle, path, name, find(name)),
      close: () => handle.close(),
    };
  } catch (error) {
    await handle.close();
    throw error;
  }
}

async function openFile(path: string): Promise<FileHandle> {
  try {
    // A pipe that nobody writes to would hold up whoever opens it, for ever.
    return await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
  } catch (cause) {
    throw new InvalidOptionError(expected('safetensors file', 'a file that can be read', path), { cause });
  }
}

async function readHeader(handle: FileHandle, path: string): Promise<SafetensorsHeader> {
  const stats = await handle.stat();
  if (!stats.isFile()) throw new InvalidOptionError(expected('safetensors file', 'a regular file', path));
  if (stats.size < lengthBytes) {
    throw new FormatError(expected(`size of ${path}`, `at least ${lengthBytes} bytes`, stats.size));
  }
  const prefix = Buffer.alloc(lengthBytes);
  await readExactly(handle, path, prefix, 0);
  const jsonBytes = Number(prefix.readBigUInt64LE());
  const most = Math.min(headerLimitBytes, stats.size - lengthBytes);
  if (jsonBytes > most) throw new FormatError(expected(`header length of ${path}`, `at most ${most}`, jsonBytes));
  const json = Buffer.alloc(jsonBytes);
  await readExactly(handle, path, json, lengthBytes);
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(json);
  } catch (cause) {
    throw new FormatError(`Expected the header of ${path} to be UTF-8.`, { cause });
  }
  return parseHeader(text, stats.size - lengthBytes - jsonBytes, path);
}

async function readFloats(handle: FileHandle, path: string, name: string, entry: SafetensorsEntry): Promise<Tensor> {
  const { dtype, shape } = entry;
  if (dtype !== 'F32' && dtype !== 'F16' && dtype !== 'BF16') throw wrongType(path, name, 'F32, F16 or BF16', dtype);
  const data = new Float32Array(sizeOf(shape));
  // Numbers of 16 bits are read into the second half of their own result; widening in order never overtakes the source.
  const bytes = new Uint8Array(data.buffer, data.byteLength - entry.byteLength);
  await readExactly(handle, path, bytes, entry.byteOffset);
  if (dtype === 'F32') return { data, shape };
  const halves = new Uint16Array(data.buffer, bytes.byteOffset);
  if (dtype === 'BF16') {
    const words = new Uint32Array(data.buffer);
    for (let index = 0; index < data.length; index++) words[index] = (halves[index] as number) << 16;
  } else {
    for (let index = 0; index < data.length; index++) data[index] = halfToNumber(halves[index] as number);
  }
  return { data, shape };
}

async function readIntegers(
  handle: FileHandle,
  path: string,
  name: string,
  { dtype, shape, byteOffset, byteLength }: SafetensorsEntry,
): Promise<{ data: BigInt64Array | Uint8Array; shape: readonly number[] }> {
  if (dtype !== 'I64' && dtype !== 'U8') throw wrongType(path, name, 'I64 or U8', dtype);
  const bytes = new Uint8Array(byteLength);
  await readExactly(handle, path, bytes, byteOffset);
  return { data: dtype === 'U8' ? bytes : new BigInt64Array(bytes.buffer), shape };
}

function wrongType(path: string, name: string, rule: string, dtype: string): FormatError {
  return new FormatError(expected(`dtype of ${name} in ${path}`, rule, dtype));
}

/** Returns the value of IEEE 754 binary16 bits. */
function halfToNumber(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 0x1f;
  const fraction = half & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (1024 + fraction) * 2 ** (exponent - 25);
}

/** Longest single read that Node takes is below 2 GiB. */
const longestReadBytes = 2 ** 30;

async function readExactly(handle: FileHandle, path: string, target: Uint8Array, position: number): Promise<void> {
  let done = 0;
  while (done < target.length) {
    const length = Math.min(longestReadBytes, target.length - done);
    const { bytesRead } = await handle.read(target, done, length, position + done);
    if (bytesRead === 0) throw new FormatError(`${path} ended early: it changed while it was read.`);
    done += bytesRead;
  }
}
