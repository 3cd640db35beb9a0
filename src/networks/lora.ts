// LoRA files on their way into a model: checked against the weights before anything is loaded, read when a network is.
import { expected, FormatError, InvalidOptionError } from '../errors.js';
import { openSafetensors, type SafetensorsFile } from '../tensor/safetensors.js';
import { sizeOf } from '../tensor/tensor.js';
import type { Bundle } from './bundle.js';
import type { GraphName } from './bundle-layout.js';
import type { WeightChange, WeightTerm } from './change-weights.js';
import { type LoraLayer, readLoraLayers } from './lora-file.js';
import { findTarget, type NamedGraph, nameGraphs } from './lora-names.js';
import type { LoraChoice, LoraOptions, MergedLora } from './model.js';
import type { Weight } from './onnx-file.js';

/** LoRAs that fit a model. */
export interface LoraPlan {
  readonly loras: readonly MergedLora[];
  /** Graphs that are changed. */
  readonly graphs: ReadonlySet<GraphName>;
  /** Returns what is added to the weights of a graph, read from the files anew. Throws FormatError. */
  read(graph: GraphName): Promise<WeightChange[]>;
}

/** A layer of a file and the rows of a weight that it changes. */
interface Piece {
  readonly layer: LoraLayer;
  readonly graph: GraphName;
  readonly weight: Weight;
  /** Whether it is the bias that is changed. */
  readonly isBias: boolean;
  /** Rows [start, end) of the file's tensor, which may stand for several modules. */
  readonly rows: readonly [start: number, end: number];
}

interface PlannedFile {
  readonly path: string;
  readonly scale: number;
  readonly pieces: readonly Piece[];
}

/** How many names an error shows. */
const shownKeys = 5;

/**
 * Returns the plan for these LoRAs, every number of them looked at once. Throws InvalidOptionError for one that doesn't fit
 * the model, FormatError for a file that is no sound LoRA, and BundleError.
 */
export async function planLoras(
  bundle: Bundle,
  choices: readonly LoraChoice[],
  { partial = false }: LoraOptions = {},
): Promise<LoraPlan> {
  const graphs = choices.length === 0 ? [] : nameGraphs(bundle);
  const files: PlannedFile[] = [];
  const loras: MergedLora[] = [];
  for (const { path, scale = 1 } of choices) {
    if (!Number.isFinite(scale)) throw new InvalidOptionError(expected(`scale of ${path}`, 'a number', scale));
    const file = await openSafetensors(path);
    try {
      const { layers, unknownKeys } = await readLoraLayers(file, path);
      const matched = layers.map((layer) => ({ layer, pieces: piecesOf(layer, file, path, graphs) }));
      const unmatchedKeys = [
        ...matched.flatMap(({ layer, pieces }) => (pieces === undefined ? layer.keys : [])),
        ...unknownKeys,
      ];
      const pieces = matched.flatMap((one) => one.pieces ?? []);
      if (pieces.length === 0 || (unmatchedKeys.length > 0 && !partial)) {
        throw misfit(path, bundle, unmatchedKeys, pieces.length > 0);
      }
      for (const piece of pieces) await readTerms(file, path, piece, scale);
      files.push({ path, scale, pieces });
      loras.push({ path, scale, weights: new Set(pieces.map(({ weight }) => weight)).size, unmatchedKeys });
    } finally {
      await file.close();
    }
  }
  // A scale of 0 adds nothing, so that it needs no change.
  const active = files.filter(({ scale }) => scale !== 0);
  return {
    loras,
    graphs: new Set(active.flatMap(({ pieces }) => pieces.map(({ graph }) => graph))),
    read: (graph) => readChanges(active, graph),
  };
}

async function readChanges(files: readonly PlannedFile[], graph: GraphName): Promise<WeightChange[]> {
  const terms = new Map<string, WeightTerm[]>();
  for (const { path, scale, pieces } of files) {
    const wanted = pieces.filter((piece) => piece.graph === graph);
    if (wanted.length === 0) continue;
    const file = await openSafetensors(path);
    try {
      for (const piece of wanted) {
        const known = terms.get(piece.weight.name) ?? [];
        terms.set(piece.weight.name, [...known, ...(await readTerms(file, path, piece, scale))]);
      }
    } finally {
      await file.close();
    }
  }
  return [...terms].map(([weight, list]) => ({ weight, terms: list }));
}

/** Returns the weights that a layer changes, none for a module that the graph has no use for, or undefined when the model has no such
 * module. Throws InvalidOptionError. */
function piecesOf(
  layer: LoraLayer,
  file: SafetensorsFile,
  path: string,
  graphs: readonly NamedGraph[],
): Piece[] | undefined {
  const target = findTarget(graphs, layer.module);
  if (target?.modules.length === 0) return [];
  const weights = graphs.find(({ graph }) => graph === target?.graph)?.weights;
  if (target === undefined || weights === undefined) return undefined;
  const { down, up, difference, upBias, biasDifference } = layer;
  const pieces: Piece[] = [];
  for (const [isBias, keys] of [
    [false, [up, difference]],
    [true, [upBias, biasDifference]],
  ] as const) {
    const given = keys.filter((key) => key !== undefined);
    if (given.length === 0) continue;
    let end = 0;
    for (const module of target.modules) {
      const weight = weights.get(`${module}.${isBias ? 'bias' : 'weight'}`);
      if (weight === undefined) return undefined;
      const start = end;
      end += weight.shape[0] ?? 0;
      pieces.push({ layer, graph: target.graph, weight, isBias, rows: [start, end] });
    }
    const columns = isBias ? 1 : sizeOf(weights.get(`${target.modules[0]}.weight`)?.shape.slice(1) ?? []);
    for (const key of given) {
      const shape = file.entries.get(key)?.shape ?? [];
      const downShape = key === up && down !== undefined ? (file.entries.get(down)?.shape ?? []) : undefined;
      const rank = downShape?.[0];
      const fits =
        rank === undefined
          ? sizeOf(shape) === end * columns
          : rank > 0 && shape[0] === end && sizeOf(shape) === end * rank && sizeOf(downShape ?? []) === rank * columns;
      if (fits) continue;
      const found = downShape === undefined ? `[${shape}]` : `[${shape}] times [${downShape}]`;
      throw new InvalidOptionError(
        expected(
          `${layer.module} of ${path}`,
          `a change of a weight of ${end} by ${columns} numbers`,
          found.replaceAll(',', ', '),
          'It was made for another model.',
        ),
      );
    }
  }
  return pieces;
}

/** Returns what a piece adds to its weight, scaled. Throws FormatError for what is not a number. */
async function readTerms(
  file: SafetensorsFile,
  path: string,
  { layer, weight, isBias, rows: [start, end] }: Piece,
  scale: number,
): Promise<WeightTerm[]> {
  const read = async (key: string, factor: number): Promise<Float32Array> => {
    const { data } = await file.read(key);
    const at = data.findIndex((value) => !Number.isFinite(value));
    if (at >= 0)
      throw new FormatError(expected(`${key} of ${path}`, 'finite numbers', data[at], 'The file is damaged.'));
    if (factor !== 1) for (let index = 0; index < data.length; index++) data[index] = (data[index] ?? 0) * factor;
    return data;
  };
  const rowsOf = (data: Float32Array, width: number): Float32Array => data.slice(start * width, end * width);
  const terms: WeightTerm[] = [];
  if (isBias) {
    if (layer.upBias !== undefined) terms.push({ values: rowsOf(await read(layer.upBias, layer.factor * scale), 1) });
    if (layer.biasDifference !== undefined) terms.push({ values: rowsOf(await read(layer.biasDifference, scale), 1) });
    return terms;
  }
  const columns = sizeOf(weight.shape.slice(1));
  if (layer.up !== undefined && layer.down !== undefined) {
    const down = await read(layer.down, 1);
    const rank = down.length / columns;
    terms.push({ up: rowsOf(await read(layer.up, layer.factor * scale), rank), down, rank });
  }
  if (layer.difference !== undefined) terms.push({ values: rowsOf(await read(layer.difference, scale), columns) });
  return terms;
}

function misfit(
  path: string,
  { manifest, path: folder }: Bundle,
  keys: readonly string[],
  somethingFits: boolean,
): Error {
  const shown = keys.slice(0, shownKeys).join(', ');
  const more = keys.length > shownKeys ? ` and ${keys.length - shownKeys} more` : '';
  const list = keys.length === 0 ? 'it holds no tensor' : `${shown}${more}`;
  return new InvalidOptionError(
    somethingFits
      ? `${path} holds tensors that stand for nothing in ${manifest.name}: ${list}. Use a LoRA for this model, or pass over them (--lora-partial, loraPartial).`
      : `Nothing in ${path} stands for a weight of ${manifest.name} (${folder}): ${list}. Use a LoRA that was made for this model.`,
  );
}
