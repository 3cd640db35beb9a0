// A family's bundle against what diffusers made with the pipeline that it was exported from (models/export/parity).
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { pipelines } from '../../pipelines/index.js';
import type { LoraChoice, Model } from '../../src/networks/model.js';
import { readSafetensorsHeader, type SafetensorsFile } from '../../src/tensor/safetensors.js';
import { axis, concat, createTensor, type Tensor } from '../../src/tensor/tensor.js';
import { largestDifference } from '../networks/tiny-model.js';

/** Most by which a run may differ from diffusers': in latents as a share of the largest, in frames in grey levels. */
export const tolerance = { latents: 1e-4, frames: 1 } as const;

/** A run that both sides made. */
export interface Case {
  readonly name: string;
  /** Name of a pipeline. */
  readonly pipeline: string;
  /** Its options; `input` is a file beside the goldens, and so are those of `loras`, which are the model's; @/ in others stands for
   * their folder. */
  readonly options: Readonly<Record<string, unknown>> & { readonly width: number; readonly height: number };
  /** x, y, width and height of what is compared of the frames; left out, all of them. */
  readonly area?: readonly [number, number, number, number];
}

/** The largest differences of a run, in the units of `tolerance`. */
export interface Difference {
  readonly latents: number;
  readonly frames: number;
}

/** Returns the families that have goldens in the folder, in alphabetical order. */
export function familiesIn(folder: string): string[] {
  const ending = '.safetensors';
  return readdirSync(folder)
    .filter((name) => name.endsWith(ending))
    .map((name) => name.slice(0, -ending.length))
    .sort();
}

/** Returns the runs of a file of goldens, the path of the bundle that makes them, and whether arrays of its VAE are there. */
export async function readCases(goldenPath: string): Promise<{ cases: Case[]; bundle: string; hasVae: boolean }> {
  const { metadata, entries } = await readSafetensorsHeader(goldenPath);
  const bundle = metadata.bundle ?? basename(goldenPath, '.safetensors');
  return {
    cases: JSON.parse(metadata.cases ?? '[]') as Case[],
    bundle: join(dirname(goldenPath), bundle),
    hasVae: entries.has('vae.levels'),
  };
}

/** Returns a clip, what the VAE codes it as, and what it decodes from that. */
export async function readVae(golden: SafetensorsFile): Promise<{ pixels: Tensor; latents: Tensor; decoded: Tensor }> {
  const { data, shape } = await golden.readIntegers('vae.levels');
  const [latents, decoded] = await Promise.all([golden.read('vae.latents'), golden.read('vae.decoded')]);
  return {
    pixels: createTensor(
      shape,
      Float32Array.from({ length: data.length }, (_, at) => Number(data[at]) / 127.5 - 1),
    ),
    latents,
    decoded,
  };
}

/** Makes the run and returns how far it is from the goldens. Throws when shapes differ. */
export async function compareRun(
  model: Model,
  golden: SafetensorsFile,
  run: Case,
  folder: string,
): Promise<Difference> {
  const { name, pipeline, options, area } = run;
  const { input, loras = [], ...rest } = { ...options, ...withoutWeights(options) };
  const place = (value: unknown): unknown => {
    if (typeof value === 'string') return value.replaceAll('@/', join(folder, '/'));
    if (Array.isArray(value)) return value.map(place);
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, place(inner)]));
  };
  const placed = Object.entries(rest).map(([key, value]) => [key, place(value)]);
  if (typeof input === 'string') placed.push(['input', join(folder, input)]);
  const found = pipelines.find((candidate) => candidate.name === pipeline);
  assert.ok(found !== undefined, `no pipeline ${pipeline}`);
  const choices = (loras as LoraChoice[]).map(({ path, scale }) => ({ path: join(folder, path), scale }));
  await model.setLoras(choices);
  const pieces: Tensor[] = [];
  const clip = await found.run(model, Object.fromEntries(placed), {
    onLatents: (latents) => void pieces.push(latents),
  });
  const frames: Uint8Array[] = [];
  for await (const frame of clip.frames) {
    assert.deepEqual([frame.width, frame.height], [options.width, options.height]);
    frames.push(frame.data);
  }
  const latents = relativeDifference(concat(pieces, axis.time), await golden.read(`${name}.latents`));
  // Frames that reelspace finishes in its own way, such as inpainted ones, have no reference.
  if (!golden.entries.has(`${name}.frames`)) return { latents, frames: 0 };
  const wanted = await golden.readIntegers(`${name}.frames`);
  assert.deepEqual([frames.length, options.height, options.width, 3], [...wanted.shape]);
  const [left, top, width, height] = area ?? [0, 0, options.width, options.height];
  let worst = 0;
  for (const [at, value] of Buffer.concat(frames).entries()) {
    const pixel = Math.floor(at / 3);
    const x = pixel % options.width;
    const y = Math.floor(pixel / options.width) % options.height;
    if (x < left || x >= left + width || y < top || y >= top + height) continue;
    worst = Math.max(worst, Math.abs(value - Number(wanted.data[at])));
  }
  return {
    latents,
    frames: worst,
  };
}

/** Returns the prompts with a backslash before their brackets, which diffusers takes as they are. */
function withoutWeights({ prompt, negativePrompt }: Case['options']): Record<string, string> {
  const texts = Object.entries({ prompt, negativePrompt }).filter(
    ([, text]) => typeof text === 'string' && /[()[\]]/.test(text),
  );
  return Object.fromEntries(texts.map(([key, text]) => [key, String(text).replace(/[()[\]\\]/g, '\\$&')]));
}

function relativeDifference(actual: Tensor, wanted: Tensor): number {
  const largest = wanted.data.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  return largestDifference(actual, wanted) / largest;
}
