// What a bundle weighs, graph by graph.
import { dirname, join } from 'node:path';
import type { Bundle } from './bundle.js';
import { countParameters, readGraphOutline } from './onnx-file.js';
import type { GraphName } from './open-graph.js';

/** Size of one graph of a bundle. */
export interface GraphSize {
  readonly graph: GraphName;
  /** Path inside the bundle. */
  readonly path: string;
  readonly parameters: number;
  /** Bytes of all files in the graph's folder. */
  readonly sizeBytes: number;
}

/** Returns the size of every graph of a bundle. Throws BundleError when one is no ONNX file. */
export function inspectBundle({ path: folder, manifest }: Bundle): GraphSize[] {
  const sizes: GraphSize[] = [];
  for (const graph of ['textEncoder', 'denoiser', 'vaeEncoder', 'vaeDecoder'] as const) {
    const { path } = manifest.graphs[graph];
    const beside = manifest.files.filter((file) => dirname(file.path) === dirname(path));
    sizes.push({
      graph,
      path,
      parameters: countParameters(readGraphOutline(join(folder, path))),
      sizeBytes: beside.reduce((total, { sizeBytes }) => total + sizeBytes, 0),
    });
  }
  return sizes;
}
