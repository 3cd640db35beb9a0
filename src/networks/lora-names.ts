// Finds the weights that a LoRA's modules stand for. The names of a bundle's own weights are the dotted ones of PyTorch;
// files write them with underscores too, behind the name of a component, or as the model's authors called the modules,
// which the manifest says (`otherNames`).
import { join, posix } from 'node:path';
import type { Bundle } from './bundle.js';
import { type GraphName, graphPath } from './bundle-layout.js';
import type { Manifest } from './manifest.js';
import { readGraphOutline, type Weight } from './onnx-file.js';

/** Where a module's change goes: rows of several modules, one after the other, where the file has them as one. */
export interface LoraTarget {
  readonly graph: GraphName;
  readonly modules: readonly string[];
}

/** The weights of a graph, and what its modules are called. */
export interface NamedGraph {
  readonly graph: GraphName;
  readonly weights: ReadonlyMap<string, Weight>;
  /** Returns the module's own names for one that follows a prefix in a file, none for one that the graph has no use for, or undefined
   * where there is no such module. */
  find(name: string): readonly string[] | undefined;
  readonly prefixes: readonly string[];
}

/** Graphs that LoRA files are made for, and what stands before a module's name beside the graph's folder and a dot. */
const filePrefixes = {
  denoiser: [
    ...['transformer.', 'unet.', 'diffusion_model.', 'model.diffusion_model.', 'base_model.model.'],
    ...['lora_unet_', 'lora_transformer_', ''],
  ],
  denoiser2: [],
  textEncoder: ['text_encoder.', 'lora_te_', 'lora_te1_', 'lora_', ''],
} as const satisfies Partial<Record<GraphName, readonly string[]>>;

/** Returns the graphs that a LoRA may change. Throws BundleError. Blocks for some milliseconds. */
export function nameGraphs({ path, manifest }: Bundle): NamedGraph[] {
  const { denoiser, textEncoder } = manifest.graphs;
  return (Object.keys(filePrefixes) as (keyof typeof filePrefixes)[]).flatMap((graph) => {
    const place = graphPath(manifest, graph);
    if (place === undefined) return [];
    const { weights } = readGraphOutline(join(path, place));
    return {
      graph,
      weights: new Map(weights.map((weight) => [weight.name, weight])),
      find:
        graph === 'textEncoder'
          ? createFinder(weights, textEncoder.otherNames, textEncoder.unusedModules)
          : createFinder(weights, denoiser.otherNames),
      prefixes: [...new Set([`${posix.dirname(place)}.`, ...filePrefixes[graph]])],
    };
  });
}

/** Returns what a module of a file stands for, or undefined. */
export function findTarget(graphs: readonly NamedGraph[], module: string): LoraTarget | undefined {
  for (const { graph, prefixes, find } of graphs) {
    for (const prefix of prefixes) {
      const modules = module.startsWith(prefix) ? find(module.slice(prefix.length)) : undefined;
      if (modules !== undefined) return { graph, modules };
    }
  }
  return undefined;
}

type OtherNames = Manifest['graphs']['denoiser']['otherNames'];

/** Stands for a number in `otherNames`. */
const placeholder = '{n}';
const withUnderscores = (name: string): string => name.replaceAll('.', '_');

function createFinder(
  weights: readonly Weight[],
  otherNames: OtherNames = {},
  unusedModules: readonly string[] = [],
): NamedGraph['find'] {
  const modules = new Set(weights.map(({ name }) => name.replace(/\.(?:weight|bias)$/, '')));
  const known = new Map<string, string>();
  for (const module of modules) known.set(withUnderscores(module), module);
  for (const module of modules) known.set(module, module);
  const renamings = [(name: string) => name, withUnderscores].flatMap((write) =>
    Object.entries(otherNames).map(([theirs, ours]) => ({
      // What follows the name stays.
      pattern: new RegExp(
        `^${write(theirs)
          .replaceAll('.', '\\.')
          .replaceAll(placeholder, () => '(\\d+)')}(?=[._]|$)`,
      ),
      ours: [ours].flat().map(write),
    })),
  );
  const unused = unusedModules.flatMap((module) => [`${module}.`, `${withUnderscores(module)}_`]);
  const isUnused = (name: string) => unused.some((start) => name.startsWith(start));
  return (name) => {
    const own = known.get(name);
    if (own !== undefined) return [own];
    for (const { pattern, ours } of renamings) {
      const match = pattern.exec(name);
      if (match === null) continue;
      const rest = name.slice(match[0].length);
      const names = ours.map((text) => fill(text, match.slice(1)) + rest);
      const found = names.flatMap((text) => known.get(text) ?? []);
      if (found.length === ours.length) return found;
      if (names.every(isUnused)) return [];
    }
    return isUnused(name) ? [] : undefined;
  };
}

/** Returns the text with numbers in its places, in order. */
function fill(text: string, numbers: readonly string[]): string {
  return numbers.reduce((filled, number) => filled.replace(placeholder, number), text);
}
