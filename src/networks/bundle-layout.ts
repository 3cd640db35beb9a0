// Where things lie in a bundle, whatever its family.
import { posix } from 'node:path';
import type { BundleFile, Manifest, StreamingGraph } from './manifest.js';
import type { Device } from './model.js';

/** The graphs that a bundle has one of at most, as the manifest calls them. */
const graphNames = [
  'textEncoder',
  'textEncoder2',
  'imageEncoder',
  'denoiser',
  'denoiser2',
  'vaeEncoder',
  'vaeDecoder',
] as const;

/** A network that reads off a picture what the denoiser is to make, by what the picture shows. */
export type ControlNetName = `controlNet:${string}`;
export const controlNetName = (kind: string): ControlNetName => `controlNet:${kind}`;
export const isControlNet = (graph: GraphName): graph is ControlNetName => graph.startsWith('controlNet:');

export type GraphName = (typeof graphNames)[number] | ControlNetName;

/** Files that have the same place in every bundle. */
export const bundleFiles = {
  manifest: 'reelspace.json',
  schedulerConfig: 'scheduler/scheduler_config.json',
} as const;

/** The folders of the tokenizers that a bundle may have, by the graph that reads their tokens. */
export const tokenizerFolders = { textEncoder: 'tokenizer', textEncoder2: 'tokenizer_2' } as const;
export type TokenizerFolder = (typeof tokenizerFolders)[keyof typeof tokenizerFolders];

/** Returns the file that holds a tokenizer's vocabulary and rules. */
export function tokenizerFile(folder: TokenizerFolder): string {
  return `${folder}/tokenizer.json`;
}

/** Returns all graphs that a bundle may have, and those of its control nets. */
export function graphsOf({ graphs }: Manifest): GraphName[] {
  return [...graphNames, ...(graphs.controlNets ?? []).map(({ kind }) => controlNetName(kind))];
}

/** Returns the file of a graph, or undefined when the bundle has no such graph. */
export function graphPath({ graphs }: Manifest, graph: GraphName): string | undefined {
  if (!isControlNet(graph)) return graphs[graph]?.path;
  return graphs.controlNets?.find(({ kind }) => controlNetName(kind) === graph)?.path;
}

/** Returns all files that are opened for a graph, on one device or another; none when the bundle has no such graph. */
export function openedFiles(manifest: Manifest, graph: GraphName): string[] {
  const { first, onCpu } = others(manifest, graph);
  return [graphPath(manifest, graph), first?.path, onCpu].filter((path) => path !== undefined);
}

/**
 * Returns the files that a device opens for a graph, its own and the one that a clip starts with, and all that it may read then: those beside
 * them but for the graph that other devices open. Both are empty when the bundle has no such graph. A graph whose weights are changed is the
 * one at its `path` on every device.
 */
export function filesOn(
  device: Device,
  manifest: Manifest,
  graph: GraphName,
  isChanged = false,
): { opened: readonly string[]; read: readonly BundleFile[] } {
  const path = graphPath(manifest, graph);
  const { first, onCpu } = others(manifest, graph);
  const [own, unread] = device === 'cpu' && onCpu !== undefined && !isChanged ? [onCpu, path] : [path, onCpu];
  return {
    opened: [own, first?.path].filter((file) => file !== undefined),
    read: graphFiles(manifest, graph).filter((file) => file.path !== unread),
  };
}

/** Returns the graphs that there are beside the usual one. */
function others({ graphs }: Manifest, graph: GraphName): Pick<StreamingGraph, 'first' | 'onCpu'> {
  if (graph === 'denoiser') return { onCpu: graphs.denoiser.onCpu };
  return graph === 'vaeEncoder' || graph === 'vaeDecoder' ? graphs[graph] : {};
}

/** Returns the files of a graph: its own, and whatever lies beside it; none when the bundle has no such graph. */
export function graphFiles(manifest: Manifest, graph: GraphName): BundleFile[] {
  const opened = graphPath(manifest, graph);
  if (opened === undefined) return [];
  const folder = posix.dirname(opened);
  return manifest.files.filter(({ path }) => posix.dirname(path) === folder);
}
