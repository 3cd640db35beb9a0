// The files that a graph's weights lie in beside its own: onnxruntime reads whatever a graph names, so that those have to be hashed, too.
import { basename, join } from 'node:path';
import { BundleError } from '../errors.js';
import type { BundleFile } from './manifest.js';
import { entryFields, tensorFields } from './onnx-file.js';
import { notOnnx, ProtoFile, type Range } from './proto-file.js';

/** Throws BundleError when a graph of a bundle's folder has weights in a file that is none of `files`, which lie beside it. Blocks for some milliseconds. */
export function assertWeightsListed(folder: string, graphs: readonly string[], files: readonly BundleFile[]): void {
  const listed = new Set(files.map(({ path }) => basename(path)));
  for (const graph of graphs) {
    const unlisted = [...readWeightFiles(join(folder, graph))].find((name) => !listed.has(name));
    if (unlisted === undefined) continue;
    throw new BundleError(
      `${graph} of the bundle ${folder} has weights in ${JSON.stringify(unlisted)}, which is none of the files beside it that the ` +
        'manifest lists for it. Get the bundle again.',
    );
  }
}

/** Messages that tensors lie in, by the numbers of their fields. */
const holders = {
  model: { 7: 'graph', 25: 'function' },
  graph: { 1: 'node', 5: 'tensor', 15: 'sparseTensor' },
  function: { 7: 'node', 11: 'attribute' },
  node: { 5: 'attribute' },
  attribute: { 5: 'tensor', 6: 'graph', 10: 'tensor', 11: 'graph', 22: 'sparseTensor', 23: 'sparseTensor' },
  sparseTensor: { 1: 'tensor', 2: 'tensor' },
} as const satisfies Record<string, Readonly<Record<number, string>>>;
type Holder = keyof typeof holders;

const locationKey = 'location';
const locationBytes = Buffer.from(locationKey);

/** Graphs lie in nodes of graphs; protobuf itself goes no deeper. */
const mostLevels = 100;

/** Returns where an ONNX file says that numbers of its tensors lie, as it says it. Throws BundleError when it is no such file. */
export function readWeightFiles(path: string): Set<string> {
  const file = new ProtoFile(path);
  const places = new Set<string>();
  const read = (range: Range, holder: Holder, level: number) => {
    if (level > mostLevels) throw notOnnx(path);
    const held: Readonly<Record<number, Holder | 'tensor'>> = holders[holder];
    for (const { field, bytes } of file.fields(range)) {
      const inner = held[field];
      if (inner === undefined || bytes === undefined || !file.mayHold(bytes, locationBytes)) continue;
      if (inner !== 'tensor') read(bytes, inner, level + 1);
      else {
        for (const entry of file.messages(bytes, tensorFields.externalData)) {
          if (file.text(entry, entryFields.key) === locationKey) places.add(file.text(entry, entryFields.value));
        }
      }
    }
  };
  try {
    read(file.whole, 'model', 1);
    return places;
  } finally {
    file.close();
  }
}
