// Control nets (Zhang et al. 2023, arXiv 2302.05543): networks that read off a picture what is to be made, and add to what
// the denoiser works with.
import { expected, InvalidOptionError, NetworkError } from '../errors.js';
import { filled, sameShape, type Tensor } from '../tensor/tensor.js';
import { assertRow, commonBatch, feed, type Part, repeated } from './feeds.js';
import type { Manifest } from './manifest.js';
import type { CallOptions, ControlPictures, DenoiserCall } from './model.js';
import type { NetworkSession, NetworkTensor } from './session.js';

/** Name of a control net's output, and of the denoiser's input that it goes into. */
export const residualName = (index: number): string => `residual_${index}`;

/** Returns the shapes of what control nets add, [B·t, C, h, w] each, for latents of that batch and [t, h, w]. */
export function residualShapes(
  { graphs }: Manifest,
  batch: number,
  [frames = 0, ...sides]: readonly number[],
): number[][] {
  return (graphs.denoiser.residuals ?? []).map(({ channels, spatialDivisor }) => [
    batch * frames,
    channels,
    ...sides.map((side) => Math.ceil(side / spatialDivisor)),
  ]);
}

/** Runs a call with the net of that kind. */
type UseNet = <T>(kind: string, call: (net: NetworkSession) => Promise<T>) => Promise<T>;

/**
 * Returns what the nets add to the denoiser, each [B·t, C, h, w], times their scales and summed; undefined where none
 * counts, and none is run then. Throws InvalidOptionError for pictures that don't fit the latents.
 */
export async function addUpControls(
  use: UseNet,
  manifest: Manifest,
  call: DenoiserCall,
  options: CallOptions,
): Promise<Tensor[] | undefined> {
  let sums: Tensor[] | undefined;
  for (const control of call.controls ?? []) {
    const { kind, scale } = control;
    if (!Number.isFinite(scale)) throw new InvalidOptionError(expected(`scale of ${kind}`, 'a number', scale));
    if (manifest.graphs.controlNets?.some((net) => net.kind === kind) !== true) {
      throw new InvalidOptionError(`Expected ${manifest.name} to have a control net for ${kind}. Use another model.`);
    }
    if (scale === 0) continue;
    const added = await use(kind, (net) => runNet(net, manifest, call, control, options));
    sums = addScaled(sums, scale, added);
  }
  return sums;
}

async function runNet(
  session: NetworkSession,
  manifest: Manifest,
  { latents, timestep, prompt }: DenoiserCall,
  { kind, pixels }: ControlPictures,
  options: CallOptions,
): Promise<Tensor[]> {
  const [, , frames = 0, height = 0, width = 0] = latents.shape;
  const { channels, spatialCompression: side } = manifest.latent;
  const parts: Part[] = [
    { input: 'latents', name: 'latents', tensor: latents, row: [channels, frames, height, width] },
    { input: 'prompt_embeds', name: 'prompt embeds', tensor: prompt.embeds, row: [undefined, undefined] },
    { input: 'pixels', name: `pictures of ${kind}`, tensor: pixels, row: [3, frames, height * side, width * side] },
  ];
  for (const part of parts) assertRow(part);
  const batch = commonBatch(parts);
  const feeds: Record<string, NetworkTensor> = { timestep: feed(session, 'timestep', filled([batch], timestep)) };
  for (const { input, tensor } of parts) feeds[input] = feed(session, input, repeated(tensor, batch, []));
  const results = await session.run(feeds, { ...options, transfer: true });
  return residualShapes(manifest, batch, [frames, height, width]).map((shape, index) => {
    const residual = results[residualName(index)];
    if (residual?.type !== 'float32' || !sameShape(residual.shape, shape)) {
      const name = `${residualName(index)} of the control net for ${kind}`;
      throw new NetworkError(expected(name, `[${shape.join(', ')}]`, [...(residual?.shape ?? [])]));
    }
    return { data: residual.data, shape };
  });
}

/** Returns sums + scale · terms, written into `terms`. */
function addScaled(sums: readonly Tensor[] | undefined, scale: number, terms: Tensor[]): Tensor[] {
  for (const [index, { data: term }] of terms.entries()) {
    const sum = sums?.[index]?.data;
    for (let at = 0; at < term.length; at++) {
      term[at] = Math.fround(scale * (term[at] as number)) + (sum === undefined ? 0 : (sum[at] as number));
    }
  }
  return terms;
}
