// Where things lie in a bundle, whatever its family.
import { posix } from 'node:path';
import type { BundleFile, Manifest } from './manifest.js';

/** The graphs of a bundle, as the manifest calls them. */
export const graphNames = ['textEncoder', 'imageEncoder', 'denoiser', 'denoiser2', 'vaeEncoder', 'vaeDecoder'] as const;
export type GraphName = (typeof graphNames)[number];

/** Files that have the same place in every bundle. */
export const bundleFiles = {
  manifest: 'reelspace.json',
  schedulerConfig: 'scheduler/scheduler_config.json',
  tokenizer: 'tokenizer/tokenizer.json',
  tokenizerConfig: 'tokenizer/tokenizer_config.json',
} as const;

/** Returns the file of a graph that is opened, or undefined when the bundle has no such graph. */
export function graphPath({ graphs }: Manifest, graph: GraphName): string | undefined {
  return graphs[graph]?.path;
}

/** Returns the files of a graph: the one that is opened, and whatever lies beside it; none when the bundle has no such graph. */
export function graphFiles(manifest: Manifest, graph: GraphName): BundleFile[] {
  const opened = graphPath(manifest, graph);
  if (opened === undefined) return [];
  const folder = posix.dirname(opened);
  return manifest.files.filter(({ path }) => posix.dirname(path) === folder);
}
