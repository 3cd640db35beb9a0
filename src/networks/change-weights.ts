// A graph whose weights are changed while it is loaded: what is added is written into the graph as nodes, which onnxruntime
// works out once, when it opens the session. The file on disk stays as it is, and its weights are read from where they lie.
import { basename } from 'node:path';
import { BundleError, expected } from '../errors.js';
import { sizeOf } from '../tensor/tensor.js';
import {
  attributeFields,
  dataTypes,
  entryFields,
  graphFields,
  modelFields,
  nodeFields,
  readLayouts,
  readShape,
  tensorFields,
  type WeightLayout,
} from './onnx-file.js';
import { ProtoFile, type Range } from './proto-file.js';
import { bytesField, numberField, sizeOfParts } from './proto-writer.js';

/** What is added to a weight: numbers as many as it has, or the product of `up` [rows, rank] and `down` [rank, columns]. */
export type WeightTerm =
  | { readonly values: Float32Array }
  | { readonly up: Float32Array; readonly down: Float32Array; readonly rank: number };

/** A weight of a graph, and what is added to it, one after the other. */
export interface WeightChange {
  readonly weight: string;
  readonly terms: readonly WeightTerm[];
}

const floatTypes: readonly number[] = [dataTypes.float32, dataTypes.float16, dataTypes.bfloat16];
const integerAttribute = 2;
const external = 1;
/** Weights from this size on are not copied, but referred to. */
const smallestReference = 1024;
/** A protobuf message ends at 2 GiB. */
const largestGraphBytes = 2_000_000_000;

/**
 * Returns the graph of an ONNX file with changed weights, to be opened with the file's folder as the place of external
 * data. Where the weight is no float32, each term is rounded to its type before it is added, and so is each sum. Throws BundleError for a weight that the graph lacks or that isn't
 * made of floats. Blocks for some milliseconds.
 */
export function changeWeights(path: string, changes: readonly WeightChange[]): Uint8Array {
  const file = new ProtoFile(path);
  try {
    const wanted = new Map(changes.map((change) => [change.weight, change]));
    const layouts = readLayouts(file);
    const parts: Uint8Array[] = [];
    for (const { field, bytes, range } of file.fields(file.whole)) {
      const isGraph = field === modelFields.graph && bytes !== undefined;
      if (isGraph) parts.push(...bytesField(field, changedGraph(file, basename(path), bytes, wanted, layouts)));
      else parts.push(file.bytes(range));
    }
    for (const name of wanted.keys()) throw new BundleError(`${path} holds no weight named ${name}.`);
    const sizeBytes = sizeOfParts(parts);
    if (sizeBytes > largestGraphBytes) {
      throw new BundleError(
        expected(`size of what is added to ${path}`, `at most ${largestGraphBytes} bytes`, sizeBytes),
      );
    }
    return Buffer.concat(parts);
  } finally {
    file.close();
  }
}

/** Returns the parts of the graph; what was changed is taken out of `wanted`. */
function changedGraph(
  file: ProtoFile,
  fileName: string,
  graph: Range,
  wanted: Map<string, WeightChange>,
  layouts: ReadonlyMap<string, WeightLayout>,
): Uint8Array[] {
  // New nodes come before those that use what they give, as ONNX wants it.
  const added: Uint8Array[] = [];
  const kept: Uint8Array[] = [];
  for (const part of file.fields(graph)) {
    if (part.field !== graphFields.initializer || part.bytes === undefined) {
      kept.push(file.bytes(part.range));
      continue;
    }
    const name = file.text(part.bytes, tensorFields.name);
    const change = wanted.get(name);
    wanted.delete(name);
    const newName = change === undefined ? name : baseName(name);
    kept.push(...bytesField(graphFields.initializer, referredTensor(file, fileName, part.bytes, newName)));
    if (change === undefined) continue;
    const type = file.number(part.bytes, tensorFields.dataType);
    if (!floatTypes.includes(type)) {
      throw new BundleError(
        `The weight ${name} of ${fileName} is not stored as floats, so that nothing can be added to it. ` +
          'Export the model with --dtype fp32, fp16 or bf16.',
      );
    }
    added.push(...sum(change, readShape(file, part.bytes), type, layouts.get(name) === 'transposed'));
  }
  return [...added, ...kept];
}

function baseName(weight: string): string {
  return `${weight}/base`;
}

/** Returns the parts of a tensor under another name, its numbers left in the file. */
function referredTensor(file: ProtoFile, fileName: string, tensor: Range, name: string): Uint8Array[] {
  const parts: Uint8Array[] = bytesField(tensorFields.name, name);
  for (const { field, bytes, range } of file.fields(tensor)) {
    if (field === tensorFields.name) continue;
    const length = bytes === undefined ? 0 : bytes.end - bytes.start;
    if (field !== tensorFields.rawData || bytes === undefined || length < smallestReference) {
      parts.push(file.bytes(range));
      continue;
    }
    const place = { location: fileName, offset: String(bytes.start), length: String(length) };
    for (const [key, value] of Object.entries(place)) {
      const entry = [...bytesField(entryFields.key, key), ...bytesField(entryFields.value, value)];
      parts.push(...bytesField(tensorFields.externalData, entry));
    }
    parts.push(numberField(tensorFields.dataLocation, external));
  }
  return parts;
}

/** Returns the fields of a graph that make a weight of its base, which has that shape in the file, and the terms. */
function sum(
  { weight, terms }: WeightChange,
  stored: readonly number[],
  type: number,
  isTransposed: boolean,
): Uint8Array[] {
  const shape = isTransposed ? stored.toReversed() : stored;
  const fields: Uint8Array[] = [];
  const name = (what: string): string => `${weight}/${what}`;
  let last = baseName(weight);
  for (const [index, term] of terms.entries()) {
    const turned = name(`term.${index}`);
    const added = isTransposed ? name(`rows.${index}`) : turned;
    if ('values' in term) {
      fields.push(...floats(added, shape, term.values));
    } else {
      const [up, down, product] = ['up', 'down', 'product'].map((what) => name(`${what}.${index}`)) as [
        string,
        string,
        string,
      ];
      const rows = term.up.length / term.rank;
      fields.push(...floats(up, [rows, term.rank], term.up));
      fields.push(...floats(down, [term.rank, term.down.length / term.rank], term.down));
      const isMatrix = shape.length === 2;
      fields.push(...node('MatMul', [up, down], isMatrix ? added : product));
      if (!isMatrix) {
        const dims = name(`shape.${index}`);
        fields.push(...tensorOf(dims, [shape.length], dataTypes.int64, BigInt64Array.from(shape, BigInt)));
        fields.push(...node('Reshape', [product, dims], added));
      }
    }
    if (isTransposed) fields.push(...node('Transpose', [added], turned));
    const total = index === terms.length - 1 ? weight : name(`sum.${index}`);
    fields.push(...add(last, turned, total, type));
    last = total;
  }
  return fields;
}

/** Returns nodes that add `term` in float32 to `base` of a type, which not every device can add itself. */
function add(base: string, term: string, total: string, type: number): Uint8Array[] {
  if (type === dataTypes.float32) return node('Add', [base, term], total);
  return [
    ...cast(base, `${total}.base`, dataTypes.float32),
    ...cast(term, `${total}.rounded`, type),
    ...cast(`${total}.rounded`, `${total}.term`, dataTypes.float32),
    ...node('Add', [`${total}.base`, `${total}.term`], `${total}.float`),
    ...cast(`${total}.float`, total, type),
  ];
}

function node(
  opType: string,
  inputs: readonly string[],
  output: string,
  attributes: readonly Uint8Array[] = [],
): Uint8Array[] {
  return bytesField(graphFields.node, [
    ...inputs.flatMap((input) => bytesField(nodeFields.input, input)),
    ...bytesField(nodeFields.output, output),
    ...bytesField(nodeFields.name, `make ${output}`),
    ...bytesField(nodeFields.opType, opType),
    ...attributes,
  ]);
}

function cast(input: string, output: string, type: number): Uint8Array[] {
  const to = [
    ...bytesField(attributeFields.name, 'to'),
    numberField(attributeFields.integer, type),
    numberField(attributeFields.type, integerAttribute),
  ];
  return node('Cast', [input], output, bytesField(nodeFields.attribute, to));
}

function floats(name: string, shape: readonly number[], values: Float32Array): Uint8Array[] {
  if (values.length !== sizeOf(shape)) throw new BundleError(expected(name, `${sizeOf(shape)} numbers`, values.length));
  return tensorOf(name, shape, dataTypes.float32, values);
}

function tensorOf(
  name: string,
  shape: readonly number[],
  type: number,
  values: Float32Array | BigInt64Array,
): Uint8Array[] {
  return bytesField(graphFields.initializer, [
    ...shape.map((length) => numberField(tensorFields.dims, length)),
    numberField(tensorFields.dataType, type),
    ...bytesField(tensorFields.name, name),
    ...bytesField(tensorFields.rawData, new Uint8Array(values.buffer, values.byteOffset, values.byteLength)),
  ]);
}
