// Reads protobuf files part by part, so that what is large and not wanted is never in memory.
// Wire format: https://protobuf.dev/programming-guides/encoding/
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { BundleError } from '../errors.js';

/** Returns the error for a file that is no ONNX model. */
export function notOnnx(path: string): BundleError {
  return new BundleError(`Expected ${path} to be an ONNX model, but its content is not one. Get the file again.`);
}

/** Bytes [start, end) of a file. */
export interface Range {
  readonly start: number;
  readonly end: number;
}

/** A field of a protobuf message: a number, or the bytes of a text, a message or packed numbers. */
export interface Field {
  readonly field: number;
  /** The whole field: its key, its length and its content. */
  readonly range: Range;
  readonly number: number | undefined;
  readonly bytes: Range | undefined;
}

const wireTypes = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 } as const;
const longestText = 4096;
/** Far above what a graph has: a transformer of 30 layers is some 5,000 nodes. */
const mostFields = 1_000_000;

/** A protobuf file, open for reading parts of it. Close it when done. */
export class ProtoFile {
  readonly whole: Range;
  readonly #path: string;
  readonly #descriptor: number;
  readonly #window = Buffer.alloc(1 << 16);
  #windowStart = 0;
  #windowEnd = 0;

  /** Blocks, as all reading here does. */
  constructor(path: string) {
    this.#path = path;
    this.#descriptor = openSync(path, 'r');
    this.whole = { start: 0, end: fstatSync(this.#descriptor).size };
  }

  close(): void {
    closeSync(this.#descriptor);
  }

  /** Yields the fields of a message in their order. Throws BundleError where the bytes are no message, or there are more than a million. */
  *fields({ start, end }: Range): Generator<Field> {
    let at = start;
    for (let count = 0; at < end; count++) {
      if (count === mostFields) throw notOnnx(this.#path);
      const key = this.#varint(at, end);
      const field = Math.floor(key.value / 8);
      const wireType = key.value % 8;
      let next = key.next;
      let number: number | undefined;
      let bytes: Range | undefined;
      if (wireType === wireTypes.varint) {
        ({ value: number, next } = this.#varint(next, end));
      } else if (wireType === wireTypes.bytes) {
        const length = this.#varint(next, end);
        bytes = { start: length.next, end: length.next + length.value };
        next = bytes.end;
      } else if (wireType === wireTypes.fixed64) next += 8;
      else if (wireType === wireTypes.fixed32) next += 4;
      else throw notOnnx(this.#path);
      if (field === 0 || next > end) throw notOnnx(this.#path);
      yield { field, number, bytes, range: { start: at, end: next } };
      at = next;
    }
  }

  /** Yields the bytes of every such field. */
  *messages(range: Range, field: number): Generator<Range> {
    for (const part of this.fields(range)) if (part.field === field && part.bytes !== undefined) yield part.bytes;
  }

  /** Whether these bytes may hold others: a quick look at all but long ones, which spares going through their fields. */
  mayHold({ start, end }: Range, wanted: Buffer): boolean {
    if (start < this.#windowStart || end > this.#windowEnd) this.#readWindow(start);
    const from = start - this.#windowStart;
    return end > this.#windowEnd || this.#window.subarray(from, from + end - start).includes(wanted);
  }

  /** A copy of these bytes. */
  bytes({ start, end }: Range): Buffer {
    const bytes = Buffer.alloc(end - start);
    for (let done = 0; done < bytes.length; ) {
      const read = readSync(this.#descriptor, bytes, done, bytes.length - done, start + done);
      if (read === 0) throw notOnnx(this.#path);
      done += read;
    }
    return bytes;
  }

  /** The last text of that field, or an empty one. */
  text(range: Range, field: number): string {
    let text = '';
    for (const { start, end } of this.messages(range, field)) {
      if (end - start > longestText) throw notOnnx(this.#path);
      text = this.bytes({ start, end }).toString('utf8');
    }
    return text;
  }

  /** The last number of that field, or 0. */
  number(range: Range, field: number): number {
    let last = 0;
    for (const part of this.fields(range)) if (part.field === field) last = part.number ?? last;
    return last;
  }

  /** All numbers of that field, packed or not. Throws BundleError where they are more than `most`. */
  numbers(range: Range, field: number, most: number): number[] {
    const numbers: number[] = [];
    const add = (value: number) => {
      if (numbers.push(value) > most) throw notOnnx(this.#path);
    };
    for (const part of this.fields(range)) {
      if (part.field !== field) continue;
      if (part.number !== undefined) add(part.number);
      for (let at = part.bytes?.start ?? 0; at < (part.bytes?.end ?? 0); ) {
        const { value, next } = this.#varint(at, part.bytes?.end ?? 0);
        add(value);
        at = next;
      }
    }
    return numbers;
  }

  #varint(start: number, end: number): { value: number; next: number } {
    let value = 0;
    let scale = 1;
    for (let at = start; at < end && at < start + 10; at++) {
      const byte = this.#byte(at);
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return { value, next: at + 1 };
      scale *= 128;
    }
    throw notOnnx(this.#path);
  }

  #byte(at: number): number {
    if (at < this.#windowStart || at >= this.#windowEnd) this.#readWindow(at);
    const byte = this.#window[at - this.#windowStart];
    if (byte === undefined || at >= this.#windowEnd) throw notOnnx(this.#path);
    return byte;
  }

  #readWindow(start: number): void {
    this.#windowStart = start;
    this.#windowEnd = start + readSync(this.#descriptor, this.#window, 0, this.#window.length, start);
  }
}
