// The header of a safetensors file: read from an untrusted file with every claim checked, and written.
//
// Format: https://github.com/huggingface/safetensors (README, "Format"): 8 bytes little-endian header length, JSON, data.
import { expected, FormatError } from '../errors.js';
import { endOfString, isShallow } from './json-text.js';
import { sizeOf } from './tensor.js';

/** Bytes an element of each type takes. Types of less than a byte are not read. */
const bytesPerElement = {
  ...{ BOOL: 1, U8: 1, I8: 1, F8_E4M3: 1, F8_E5M2: 1 },
  ...{ U16: 2, I16: 2, F16: 2, BF16: 2 },
  ...{ U32: 4, I32: 4, F32: 4 },
  ...{ U64: 8, I64: 8, F64: 8 },
} as const;

/** Element type of a stored tensor, in safetensors' words. */
export type Dtype = keyof typeof bytesPerElement;

/** Where one tensor lies in its file. */
export interface SafetensorsEntry {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  /** First byte, from the start of the file. */
  readonly byteOffset: number;
  readonly byteLength: number;
}

/** What a safetensors file holds. */
export interface SafetensorsHeader {
  readonly entries: ReadonlyMap<string, SafetensorsEntry>;
  readonly metadata: Readonly<Record<string, string>>;
}

/** Bytes before the JSON, which give its length. */
export const lengthBytes = 8;
/** Longest JSON that is read. The format allows 100 MB; headers of real files have less than one. */
export const headerLimitBytes = 16 * 2 ** 20;
/** The header, its entries, and their lists. */
const headerLevels = 3;
/** Names of real tensors have some 100 characters. */
const longestName = 512;
const metadataName = '__metadata__';

/** Returns the header that `json` describes. Throws FormatError unless its tensors fill `dataBytes` exactly once. */
export function parseHeader(json: string, dataBytes: number, path: string): SafetensorsHeader {
  const problem = (name: string, rule: string, value: unknown): FormatError =>
    new FormatError(`${path} is no sound safetensors file. ${expected(name, rule, value)}`);
  const content = parseJson(json, problem);
  const repeated = findRepeatedKey(json);
  if (repeated !== undefined) throw problem('names in the header', 'unique', repeated);

  const dataStart = lengthBytes + Buffer.byteLength(json);
  const entries = new Map<string, SafetensorsEntry>();
  let metadata: Record<string, string> = {};
  for (const [name, value] of Object.entries(content)) {
    if (name.length > longestName) throw problem('length of a name', `at most ${longestName}`, name.length);
    if (!isRecord(value)) throw problem(`header entry ${name}`, 'an object', value);
    if (name !== metadataName) {
      entries.set(name, parseEntry(name, value, dataStart, problem));
      continue;
    }
    const wrong = Object.values(value).find((text) => typeof text !== 'string');
    if (wrong !== undefined) throw problem('metadata', 'strings only', wrong);
    metadata = value as Record<string, string>;
  }

  let end = dataStart;
  const inOrder = [...entries].sort(([, a], [, b]) => a.byteOffset - b.byteOffset || a.byteLength - b.byteLength);
  for (const [name, entry] of inOrder) {
    if (entry.byteOffset !== end) {
      throw problem(
        `start of ${name}`,
        `${end - dataStart}, where the tensor before it ends`,
        entry.byteOffset - dataStart,
      );
    }
    end += entry.byteLength;
  }
  if (end - dataStart !== dataBytes)
    throw problem('size of the data', `${end - dataStart} bytes, as the header says`, dataBytes);
  return { entries, metadata };
}

/** Returns the first bytes of a file of float32 tensors, laid out in the order given, and where each one goes. */
export function buildHeader(
  shapes: ReadonlyMap<string, readonly number[]>,
  metadata: Readonly<Record<string, string>>,
): { bytes: Buffer; header: SafetensorsHeader; fileBytes: number } {
  const content: Record<string, unknown> = Object.keys(metadata).length > 0 ? { [metadataName]: metadata } : {};
  const placed: [string, SafetensorsEntry][] = [];
  let offset = 0;
  for (const [name, shape] of shapes) {
    const byteLength = sizeOf(shape) * bytesPerElement.F32;
    content[name] = { dtype: 'F32', shape, data_offsets: [offset, offset + byteLength] };
    placed.push([name, { dtype: 'F32', shape: [...shape], byteOffset: offset, byteLength }]);
    offset += byteLength;
  }
  const json = JSON.stringify(content);
  // Trailing spaces are allowed, and align the data for readers that map the file.
  const jsonBytes = Math.ceil(Buffer.byteLength(json) / 8) * 8;
  const bytes = Buffer.alloc(lengthBytes + jsonBytes, ' ');
  bytes.writeBigUInt64LE(BigInt(jsonBytes));
  bytes.write(json, lengthBytes);
  const entries = new Map(
    placed.map(([name, entry]) => [name, { ...entry, byteOffset: bytes.length + entry.byteOffset }]),
  );
  return { bytes, header: { entries, metadata }, fileBytes: bytes.length + offset };
}

type Problem = (name: string, rule: string, value: unknown) => FormatError;

function parseJson(json: string, problem: Problem): Record<string, unknown> {
  if (!json.startsWith('{')) throw problem('the header', 'a JSON object', json);
  if (!isShallow(json, headerLevels)) {
    throw problem('the header', `at most ${headerLevels} levels, and two million lists and objects`, json);
  }
  try {
    return JSON.parse(json);
  } catch (cause) {
    const error = problem('the header', 'JSON', json);
    error.cause = cause;
    throw error;
  }
}

function parseEntry(
  name: string,
  value: Record<string, unknown>,
  dataStart: number,
  problem: Problem,
): SafetensorsEntry {
  const { dtype, shape, data_offsets: offsets } = value;
  if (!isDtype(dtype)) throw problem(`dtype of ${name}`, `one of ${Object.keys(bytesPerElement).join(', ')}`, dtype);
  if (!isCounts(shape)) throw problem(`shape of ${name}`, 'whole numbers', shape);
  if (!isCounts(offsets) || offsets.length !== 2)
    throw problem(`data_offsets of ${name}`, 'two whole numbers', offsets);
  const [start = 0, end = 0] = offsets;
  const byteLength = sizeOf(shape) * bytesPerElement[dtype];
  // A product too large to be exact can't equal a difference of two safe numbers by accident: it is above all of them.
  if (end - start !== byteLength) {
    throw problem(`data of ${name}`, `${byteLength} bytes, as its shape says`, end - start);
  }
  return { dtype, shape, byteOffset: dataStart + start, byteLength };
}

/** Returns a key that one object of valid JSON holds twice; JSON.parse would keep the last one in silence. */
function findRepeatedKey(json: string): string | undefined {
  const open: Set<string>[] = [];
  let text = '';
  for (let at = 0; at < json.length; ) {
    const sign = json[at];
    const next = sign === '"' ? endOfString(json, at) : at + 1;
    if (sign === '{') open.push(new Set());
    else if (sign === '}') open.pop();
    else if (sign === '"') text = json.slice(at, next);
    else if (sign === ':') {
      const name: string = JSON.parse(text);
      const seen = open.at(-1);
      if (seen?.has(name)) return name;
      seen?.add(name);
    }
    at = next;
  }
  return undefined;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((count) => Number.isSafeInteger(count) && count >= 0);
}

function isDtype(value: unknown): value is Dtype {
  return typeof value === 'string' && Object.hasOwn(bytesPerElement, value);
}
