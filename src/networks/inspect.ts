// What a bundle weighs, graph by graph.
import { join } from 'node:path';
import type { Bundle } from './bundle.js';
import { type GraphName, graphFiles, graphNames, graphPath } from './bundle-layout.js';
import { countParameters, readGraphOutline } from './onnx-file.js';

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
  for (const graph of graphNames) {
    const path = graphPath(manifest, graph);
    if (path === undefined) continue;
    sizes.push({
      graph,
      path,
      parameters: countParameters(readGraphOutline(join(folder, path))),
      sizeBytes: graphFiles(manifest, graph).reduce((total, { sizeBytes }) => total + sizeBytes, 0),
    });
  }
  return sizes;
}
