// One call of the denoiser: what the graph wants is made from what is given, and held against it before anything runs.
import { expected, InvalidOptionError, NetworkError } from '../errors.js';
import { axis, createTensor, filled, sameShape, type Tensor } from '../tensor/tensor.js';
import { residualName, residualShapes } from './control-net.js';
import { assertRow, commonBatch, feed, type Part, repeated } from './feeds.js';
import { conditionMaskLength, type Manifest } from './manifest.js';
import type { CallOptions, DenoiserCall } from './model.js';
import type { NetworkSession, NetworkTensor } from './session.js';

/**
 * Returns the prediction [B, C, t, h, w]. Latents, prompt and conditions of batch 1 are repeated to the batch of the
 * others; conditions that the graph takes and the call doesn't give are zeros. `residuals` are what control nets gave, whose
 * buffers are given away. Throws InvalidOptionError for tensors that
 * don't fit the model or each other, before the network runs.
 */
export async function predict(
  session: NetworkSession,
  manifest: Manifest,
  call: DenoiserCall & { residuals?: readonly Tensor[] | undefined },
  options: CallOptions,
): Promise<Tensor> {
  const { latent, graphs } = manifest;
  const {
    latents,
    timestep,
    prompt,
    guidance,
    imageEmbeds,
    frameRate,
    frameStarts,
    conditionLatents,
    conditionMask,
    controlLatents,
    reference,
  } = call;
  if (!Number.isFinite(timestep)) throw new InvalidOptionError(expected('timestep', 'a finite number', timestep));
  const { inputs } = graphs.denoiser;
  const controlScale = inputs.includes('control_scale') ? (call.controlScale ?? filled([1], 1)) : call.controlScale;
  if (inputs.includes('frame_rate') && !(frameRate !== undefined && frameRate > 0)) {
    throw new InvalidOptionError(expected('frame rate', 'above 0, as this model goes by it', frameRate));
  }
  const volume = latents.shape.slice(axis.time);
  const tokens = prompt.embeds.shape[1] ?? 0;
  const widthOf = (input: string) => session.inputs.find(({ name }) => name === input)?.shape.at(-1);
  const parts: Part[] = [
    { input: 'latents', name: 'latents', tensor: latents, row: [latent.channels, ...volume] },
    { input: 'prompt_embeds', name: 'prompt embeds', tensor: prompt.embeds, row: [tokens, widthOf('prompt_embeds')] },
    { input: 'pooled_embeds', name: 'pooled embeds', tensor: prompt.pooled, row: [widthOf('pooled_embeds')] },
    { input: 'prompt_mask', name: 'prompt mask', tensor: prompt.mask, row: [tokens] },
    {
      input: 'image_embeds',
      name: 'image embeds',
      tensor: imageEmbeds,
      row: [imageEmbeds?.shape[1], widthOf('image_embeds')],
    },
    { input: 'frame_starts', name: 'frame starts', tensor: frameStarts, row: [volume[0]] },
    {
      input: 'condition_latents',
      name: 'condition latents',
      tensor: conditionLatents,
      row: [latent.channels, ...volume],
    },
    {
      input: 'condition_mask',
      name: 'condition mask',
      tensor: conditionMask,
      row: [conditionMaskLength(manifest), ...volume],
    },
    {
      input: 'control_latents',
      name: 'control latents',
      tensor: controlLatents,
      row: [latent.channels, ...volume],
    },
    { input: 'control_scale', name: 'control scale', tensor: controlScale, row: [] },
    {
      input: 'reference',
      name: 'reference',
      tensor: reference,
      row: [4, graphs.denoiser.referenceSide, graphs.denoiser.referenceSide],
    },
  ];
  if (frameStarts === undefined && inputs.includes('frame_starts')) {
    throw new InvalidOptionError(expected('frame starts', 'given, as this model goes by them', 'none'));
  }
  if (conditionLatents === undefined && graphs.denoiser.conditionFrom === 'pixels') {
    throw new InvalidOptionError(
      expected('condition latents', 'given, as this model is told of the whole clip', 'none', 'Use another model.'),
    );
  }
  if (imageEmbeds === undefined && inputs.includes('image_embeds')) {
    throw new InvalidOptionError(expected('image embeds', 'given, as this model starts from a picture', 'none'));
  }
  if (prompt.pooled === undefined && inputs.includes('pooled_embeds')) {
    throw new InvalidOptionError(expected('pooled embeds', 'given with the prompt', 'none'));
  }
  if (guidance === undefined && inputs.includes('guidance')) {
    throw new InvalidOptionError(expected('guidance', 'given, as this model takes it as a number', 'none'));
  }
  if (volume.length !== 3) throw new InvalidOptionError(expected('latents', '[B, C, t, h, w]', [...latents.shape]));
  for (const part of parts) assertRow(part);
  const batch = commonBatch(parts);
  const feeds: Record<string, NetworkTensor> = {
    timestep: feed(session, 'timestep', filled([batch], timestep)),
  };
  if (inputs.includes('guidance')) feeds.guidance = feed(session, 'guidance', filled([batch], guidance as number));
  if (inputs.includes('frame_rate'))
    feeds.frame_rate = feed(session, 'frame_rate', filled([batch], frameRate as number));
  for (const { input, name, tensor, row } of parts) {
    const isTaken = input === 'latents' || inputs.some((taken) => taken === input);
    const isPrompt = input === 'prompt_embeds' || input === 'pooled_embeds' || input === 'prompt_mask';
    if (isTaken) feeds[input] = feed(session, input, repeated(tensor, batch, row as readonly number[]));
    else if (!isPrompt && tensor !== undefined) {
      throw new InvalidOptionError(`This model takes no ${name}. Use a model whose tasks include what you want to do.`);
    }
  }
  for (const [index, shape] of residualShapes(manifest, batch, volume).entries()) {
    const name = residualName(index);
    feeds[name] = feed(session, name, call.residuals?.[index] ?? createTensor(shape));
  }
  const { prediction } = await session.run(feeds, { ...options, transfer: true });
  const shape = [batch, latent.channels, ...volume];
  if (prediction?.type !== 'float32' || !sameShape(prediction.shape, shape)) {
    throw new NetworkError(
      expected(`prediction of ${graphs.denoiser.path}`, `[${shape.join(', ')}]`, [...(prediction?.shape ?? [])]),
    );
  }
  return { data: prediction.data, shape };
}
