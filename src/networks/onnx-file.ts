// Reads the outline of an ONNX file (weights by name and shape, nodes, outputs) without reading the weights.
// Field numbers: onnx.proto of ONNX 1.23 (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { BundleError } from '../errors.js';
import { sizeOf } from '../tensor/tensor.js';

/** A weight of a graph. */
export interface Weight {
  readonly name: string;
  readonly shape: readonly number[];
}

/** What an ONNX file holds, but for the weights' numbers and the bodies of subgraphs. */
export interface GraphOutline {
  readonly weights: readonly Weight[];
  readonly nodes: readonly { readonly name: string; readonly opType: string }[];
  readonly outputNames: readonly string[];
}

const modelFields = { graph: 7 } as const;
const graphFields = { node: 1, initializer: 5, output: 12 } as const;
const nodeFields = { name: 3, opType: 4 } as const;
const tensorFields = { dims: 1, name: 8 } as const;
const valueInfoFields = { name: 1 } as const;

/** Returns the outline of an ONNX file. Throws BundleError when it is no such file. Blocks for some milliseconds. */
export function readGraphOutline(path: string): GraphOutline {
  const file = new ProtoFile(path);
  try {
    const weights: Weight[] = [];
    const nodes: { name: string; opType: string }[] = [];
    const outputNames: string[] = [];
    for (const graph of file.messages(file.whole, modelFields.graph)) {
      for (const part of file.fields(graph)) {
        if (part.bytes === undefined) continue;
        if (part.field === graphFields.node) {
          nodes.push({
            name: file.text(part.bytes, nodeFields.name),
            opType: file.text(part.bytes, nodeFields.opType),
          });
        } else if (part.field === graphFields.initializer) {
          weights.push({
            name: file.text(part.bytes, tensorFields.name),
            shape: file.numbers(part.bytes, tensorFields.dims),
          });
        } else if (part.field === graphFields.output) {
          outputNames.push(file.text(part.bytes, valueInfoFields.name));
        }
      }
    }
    if (outputNames.length === 0) throw notOnnx(path);
    return { weights, nodes, outputNames };
  } finally {
    file.close();
  }
}

/** Returns how many numbers the weights hold together. */
export function countParameters(outline: GraphOutline): number {
  return outline.weights.reduce((total, { shape }) => total + sizeOf(shape), 0);
}

function notOnnx(path: string): BundleError {
  return new BundleError(`Expected ${path} to be an ONNX model, but its content is not one. Get the file again.`);
}

/** Bytes [start, end) of a file. */
interface Range {
  readonly start: number;
  readonly end: number;
}

/** A field of a protobuf message: a number, or the bytes of a text or a message. */
interface Field {
  readonly field: number;
  readonly number: number | undefined;
  readonly bytes: Range | undefined;
}

// Wire format: https://protobuf.dev/programming-guides/encoding/
const wireTypes = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 } as const;
const longestText = 4096;

class ProtoFile {
  readonly whole: Range;
  readonly #path: string;
  readonly #descriptor: number;
  readonly #window = Buffer.alloc(1 << 16);
  #windowStart = 0;
  #windowEnd = 0;

  constructor(path: string) {
    this.#path = path;
    this.#descriptor = openSync(path, 'r');
    this.whole = { start: 0, end: fstatSync(this.#descriptor).size };
  }

  close(): void {
    closeSync(this.#descriptor);
  }

  *fields({ start, end }: Range): Generator<Field> {
    let at = start;
    while (at < end) {
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
      yield { field, number, bytes };
      at = next;
    }
  }

  *messages(range: Range, field: number): Generator<Range> {
    for (const part of this.fields(range)) if (part.field === field && part.bytes !== undefined) yield part.bytes;
  }

  /** The last text of that field, or an empty one. */
  text(range: Range, field: number): string {
    let text = '';
    for (const { start, end } of this.messages(range, field)) {
      if (end - start > longestText) throw notOnnx(this.#path);
      const bytes = Buffer.alloc(end - start);
      readSync(this.#descriptor, bytes, 0, bytes.length, start);
      text = bytes.toString('utf8');
    }
    return text;
  }

  /** All numbers of that field, packed or not. */
  numbers(range: Range, field: number): number[] {
    const numbers: number[] = [];
    for (const part of this.fields(range)) {
      if (part.field !== field) continue;
      if (part.number !== undefined) numbers.push(part.number);
      for (let at = part.bytes?.start ?? 0; at < (part.bytes?.end ?? 0); ) {
        const { value, next } = this.#varint(at, part.bytes?.end ?? 0);
        numbers.push(value);
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
    if (at < this.#windowStart || at >= this.#windowEnd) {
      this.#windowStart = at;
      this.#windowEnd = at + readSync(this.#descriptor, this.#window, 0, this.#window.length, at);
    }
    const byte = this.#window[at - this.#windowStart];
    if (byte === undefined || at >= this.#windowEnd) throw notOnnx(this.#path);
    return byte;
  }
}
