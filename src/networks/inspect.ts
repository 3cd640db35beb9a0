// What a bundle weighs, graph by graph.
import { join } from 'node:path';
import { sizeOf } from '../tensor/tensor.js';
import type { Bundle } from './bundle.js';
import { type GraphName, graphFiles, graphPath, graphsOf } from './bundle-layout.js';
import { countParameters, dataTypes, type GraphOutline, readGraphOutline } from './onnx-file.js';
import { stateBytes, workBytes } from './vae-limits.js';

/** Size of one graph of a bundle. */
export interface GraphSize {
  readonly graph: GraphName;
  /** Path inside the bundle. */
  readonly path: string;
  readonly parameters: number;
  /** What most of them are stored as. */
  readonly weightType: string;
  /** Bytes of all files in the graph's folder. */
  readonly sizeBytes: number;
  /** Bytes of the weights once the graph is open on the CPU, where halves become float32. */
  readonly memoryBytes: number;
}

/** Returns the size of every graph of a bundle. Throws BundleError when one is no ONNX file. */
export function inspectBundle({ path: folder, manifest }: Bundle): GraphSize[] {
  const sizes: GraphSize[] = [];
  for (const graph of graphsOf(manifest)) {
    const path = graphPath(manifest, graph);
    if (path === undefined) continue;
    const outline = readGraphOutline(join(folder, path));
    sizes.push({
      graph,
      path,
      parameters: countParameters(outline),
      weightType: mainType(outline),
      memoryBytes: outline.weights.reduce(
        (total, { shape, dataType }) => total + sizeOf(shape) * (bytesInMemory[dataType] ?? floatBytes),
        0,
      ),
      sizeBytes: graphFiles(manifest, graph).reduce((total, { sizeBytes }) => total + sizeBytes, 0),
    });
  }
  return sizes;
}

const floatBytes = 4;
const bytesInMemory: Readonly<Record<number, number>> = {
  [dataTypes.int4]: 0.5,
  [dataTypes.int8]: 1,
  [dataTypes.uint8]: 1,
  [dataTypes.int64]: 8,
};

function mainType({ weights }: GraphOutline): string {
  const counts = Object.entries(dataTypes).map(([name, type]) => ({
    name,
    count: countParameters({ weights: weights.filter(({ dataType }) => dataType === type) }),
  }));
  return counts.reduce((most, one) => (one.count > most.count ? one : most)).name;
}

/** What a run of a toy bundle takes, whose networks weigh nothing. */
const programBytes = 130_000_000;

/**
 * Returns an estimate of the bytes that a run takes at the manifest's own size, beside what the denoiser works with: the
 * program, all networks, the largest one twice while it is opened, and the half of the VAE that takes more. For reel-tiny
 * that is 301 MB, where 343 were measured.
 */
export function estimateMemory({ manifest }: Bundle, graphs: readonly GraphSize[]): number {
  const { width, height } = manifest.defaults;
  const weights = graphs.map(({ memoryBytes }) => memoryBytes);
  const work = [manifest.graphs.vaeEncoder, manifest.graphs.vaeDecoder].map(
    (half) => 2 * stateBytes(half, height, width) + workBytes(manifest, half, height, width),
  );
  return programBytes + weights.reduce((total, bytes) => total + bytes, 0) + Math.max(...weights) + Math.max(...work);
}
