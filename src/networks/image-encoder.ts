// Pictures in, embeddings out: how a model sees a picture as a whole, beside its latents.
import { expected, InvalidOptionError, NetworkError } from '../errors.js';
import type { Tensor } from '../tensor/tensor.js';
import type { CallOptions } from './model.js';
import type { NetworkSession } from './session.js';

/** Returns the embeddings [1, B·N, D] of pictures [B, 3, H, W] in [-1, 1], one after the other. */
export async function embedImages(session: NetworkSession, pixels: Tensor, options: CallOptions): Promise<Tensor> {
  const [batch = 0, channels] = pixels.shape;
  if (pixels.shape.length !== 4 || channels !== 3) {
    throw new InvalidOptionError(expected('shape of pictures', '[B, 3, height, width]', [...pixels.shape]));
  }
  const { image_embeds: embeds } = await session.run(
    { pixels: { type: 'float32', data: pixels.data, shape: pixels.shape } },
    options,
  );
  const [rows, tokens = 0, width = 0] = embeds?.shape ?? [];
  if (embeds?.type !== 'float32' || embeds.shape.length !== 3 || rows !== batch) {
    throw new NetworkError(
      expected('image_embeds of the image encoder', `[${batch}, tokens, width]`, [...(embeds?.shape ?? [])]),
    );
  }
  return { data: embeds.data, shape: [1, batch * tokens, width] };
}
