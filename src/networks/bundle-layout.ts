// Where things lie in a bundle, whatever its family.
import { posix } from 'node:path';
import type { Manifest } from './manifest.js';

/** The graphs of a bundle, as the manifest calls them. */
export const graphNames = ['textEncoder', 'denoiser', 'vaeEncoder', 'vaeDecoder'] as const;
export type GraphName = (typeof graphNames)[number];

/** A file as the manifest lists it. */
export type BundleFile = Manifest['files'][number];

/** Files that have the same place in every bundle. */
export const bundleFiles = {
  manifest: 'reelspace.json',
  schedulerConfig: 'scheduler/scheduler_config.json',
  tokenizer: 'tokenizer/tokenizer.json',
  tokenizerConfig: 'tokenizer/tokenizer_config.json',
} as const;

/** Returns the files of a graph: the one that is opened, and whatever lies beside it. */
export function graphFiles({ graphs, files }: Manifest, graph: GraphName): BundleFile[] {
  const folder = posix.dirname(graphs[graph].path);
  return files.filter(({ path }) => posix.dirname(path) === folder);
}
