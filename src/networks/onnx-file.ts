// Reads what an ONNX file holds (weights by name and shape, nodes, outputs) without reading the weights.
// Field numbers: onnx.proto of ONNX 1.23 (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto).
import { sizeOf } from '../tensor/tensor.js';
import { notOnnx, ProtoFile, type Range } from './proto-file.js';

/** A weight of a graph. */
export interface Weight {
  readonly name: string;
  /** As PyTorch has it, also where the file stores a matrix turned round. */
  readonly shape: readonly number[];
  /** What the file stores each number as: one of `dataTypes`. */
  readonly dataType: number;
}

/** A graph's weights, but for their numbers, and its outputs. */
export interface GraphOutline {
  readonly weights: readonly Weight[];
  readonly outputNames: readonly string[];
}

/** An operation of a graph. */
export interface GraphNode {
  readonly name: string;
  readonly opType: string;
}

/** Numbers of the fields that are read or written here. */
export const modelFields = { graph: 7, metadata: 14 } as const;
export const graphFields = { node: 1, initializer: 5, output: 12 } as const;
export const nodeFields = { input: 1, output: 2, name: 3, opType: 4, attribute: 5 } as const;
export const attributeFields = { name: 1, integer: 3, type: 20 } as const;
export const tensorFields = { dims: 1, dataType: 2, name: 8, rawData: 9, externalData: 13, dataLocation: 14 } as const;
export const entryFields = { key: 1, value: 2 } as const;
/** Numbers of TensorProto.DataType. */
export const dataTypes = { float32: 1, uint8: 2, int8: 3, int64: 7, float16: 10, bfloat16: 16, int4: 22 } as const;
/**
 * What metadata say of a matrix that isn't stored as PyTorch has it: its columns come first, or it is packed, two numbers a byte,
 * as [rows, blocks, bytes of a block].
 */
const layoutMarks = ['transposed', 'int4'] as const;
/** How a matrix is stored. */
export type WeightLayout = (typeof layoutMarks)[number];
const valueInfoFields = { name: 1 } as const;

/** Returns the outline of an ONNX file. Throws BundleError when it is no such file. Blocks for some milliseconds. */
export function readGraphOutline(path: string): GraphOutline {
  return readGraph(path, (file, graph) => {
    const layouts = readLayouts(file);
    const weights: Weight[] = [];
    const outputNames: string[] = [];
    for (const part of file.fields(graph)) {
      if (part.bytes === undefined) continue;
      if (part.field === graphFields.initializer) {
        const name = file.text(part.bytes, tensorFields.name);
        const stored = readShape(file, part.bytes);
        const dataType = file.number(part.bytes, tensorFields.dataType);
        weights.push(asInPyTorch({ name, shape: stored, dataType }, layouts.get(name)));
      } else if (part.field === graphFields.output) {
        outputNames.push(file.text(part.bytes, valueInfoFields.name));
      }
    }
    if (outputNames.length === 0) throw notOnnx(path);
    return { weights, outputNames };
  });
}

/** Returns the nodes of an ONNX file's graph, not those of subgraphs. Throws BundleError as `readGraphOutline` does. */
export function readNodes(path: string): GraphNode[] {
  return readGraph(path, (file, graph) =>
    Array.from(file.messages(graph, graphFields.node), (node) => ({
      name: file.text(node, nodeFields.name),
      opType: file.text(node, nodeFields.opType),
    })),
  );
}

function readGraph<T>(path: string, read: (file: ProtoFile, graph: Range) => T): T {
  const file = new ProtoFile(path);
  try {
    const [graph, another] = file.messages(file.whole, modelFields.graph);
    if (graph === undefined || another !== undefined) throw notOnnx(path);
    return read(file, graph);
  } finally {
    file.close();
  }
}

const mostDims = 16;

/** Returns the shape of a tensor as it is stored. */
export function readShape(file: ProtoFile, tensor: Range): number[] {
  return file.numbers(tensor, tensorFields.dims, mostDims);
}

function asInPyTorch(weight: Weight, layout: WeightLayout | undefined): Weight {
  const { shape } = weight;
  if (layout === 'transposed') return { ...weight, shape: shape.toReversed() };
  if (layout === undefined) return weight;
  const [rows = 0, blocks = 0, bytes = 0] = shape;
  return { ...weight, shape: [rows, 2 * blocks * bytes], dataType: dataTypes.int4 };
}

/** Returns the matrices by name that the file stores otherwise than PyTorch has them: what its metadata say of each. */
export function readLayouts(file: ProtoFile): Map<string, WeightLayout> {
  const layouts = new Map<string, WeightLayout>();
  for (const entry of file.messages(file.whole, modelFields.metadata)) {
    // Others write long texts there.
    const [value] = file.messages(entry, entryFields.value);
    const mark = layoutMarks.find(({ length }) => value !== undefined && value.end - value.start === length);
    if (mark !== undefined && file.text(entry, entryFields.value) === mark) {
      layouts.set(file.text(entry, entryFields.key), mark);
    }
  }
  return layouts;
}

/** Returns how many numbers the weights hold together. */
export function countParameters({ weights }: Pick<GraphOutline, 'weights'>): number {
  return weights.reduce((total, { shape }) => total + sizeOf(shape), 0);
}
