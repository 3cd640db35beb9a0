// What a piece of a clip must look like before it meets the VAE.
import { expected, InvalidOptionError } from '../errors.js';
import { axis, sizeOf, type Tensor } from '../tensor/tensor.js';
import type { Manifest } from './manifest.js';
import type { TensorPlace } from './vae-stream.js';

/** Throws InvalidOptionError unless the piece is [1, C, m, H, W], of a size that the model takes, and like the first one. */
export function assertClipPiece({ latent }: Manifest, place: TensorPlace, piece: Tensor, first: Tensor): void {
  const { name, channels, spatialCompression } = place;
  const { shape, data } = piece;
  const [batch, pieceChannels, , height = 0, width = 0] = shape;
  if (shape.length !== 5 || batch !== 1 || pieceChannels !== channels || data.length !== sizeOf(shape)) {
    throw new InvalidOptionError(
      expected(`shape of ${name}`, `[1, ${channels}, frames, height, width] with as many numbers`, [...shape]),
    );
  }
  if (height !== first.shape[axis.height] || width !== first.shape[axis.width]) {
    const size = `${first.shape[axis.width]}x${first.shape[axis.height]}`;
    throw new InvalidOptionError(
      expected(`size of ${name}`, `${size} in the whole clip`, `${width}x${height}`, 'Scale all frames to one size.'),
    );
  }
  const multiple = latent.sizeMultiple / spatialCompression;
  for (const [side, length] of Object.entries({ width, height })) {
    if (length > 0 && length % multiple === 0) continue;
    const below = Math.max(length - (length % multiple), multiple);
    throw new InvalidOptionError(
      expected(
        `${side} of ${name}`,
        `a multiple of ${multiple}`,
        length,
        below < length ? `Use ${below} or ${below + multiple}.` : `Use ${below}.`,
      ),
    );
  }
}
