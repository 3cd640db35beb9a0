// Glides between stills: what changes from one latent frame to the next is spread over the pixel frames that they stand for.
import type { Glide } from '../media/clip.js';
import type { Manifest } from '../networks/manifest.js';
import { rechunk } from '../networks/rechunk.js';
import { lerp } from '../tensor/math.js';
import { axis, lengthOf, slice, type Tensor } from '../tensor/tensor.js';
import { pixelFrames } from './geometry.js';

/**
 * Yields pixels [1, 3, m, H, W] that come in pieces of any length, the frames of each glide faded from one latent frame's still
 * to the next at an even pace. The frames of the latent frames that it starts and ends with are left as they are.
 *
 * Where each latent frame is a still of several frames, decoding alone would show a staircase: one large step, then rest.
 */
export async function* glide(
  pixels: AsyncIterable<Tensor>,
  glides: readonly Glide[],
  manifest: Manifest,
): AsyncGenerator<Tensor> {
  let before: Tensor | undefined;
  let latent = 0;
  let lacking = 0;
  for await (const group of byLatentFrame(pixels, manifest)) {
    const within = glides.find(({ start, end }) => start < latent && latent <= end);
    const length = lengthOf(group, axis.time);
    const still = slice(group, axis.time, length - 1, length);
    const made: Tensor[] = [];
    if (within !== undefined && before !== undefined) {
      // The last one's frames are shown as they are, beginning with its first.
      const next = latent === within.end ? slice(group, axis.time, 0, 1) : still;
      made.push(...fade(before, next, within, latent, manifest));
    }
    if (within === undefined || latent === within.end) made.push(group);
    yield* made;
    lacking += length - made.reduce((sum, part) => sum + lengthOf(part, axis.time), 0);
    before = still;
    latent++;
  }
  // Latents that break off within a glide make as many frames as they stand for all the same.
  for (; lacking > 0 && before !== undefined; lacking--) yield before;
}

/** Yields a glide's frames after the still of the latent frame before this one, up to this one's. Stills lie at even distances
 * between the still that starts it and the first frame of the one that ends it. */
function* fade(
  before: Tensor,
  next: Tensor,
  { start, end }: Glide,
  latent: number,
  manifest: Manifest,
): Generator<Tensor> {
  const steps = end - start;
  const first = pixelFrames(manifest, start + 1) - 1;
  const length = pixelFrames(manifest, end) - first;
  // Whole numbers throughout, so that no frame is lost or doubled between two latent frames.
  const begin = (latent - 1 - start) * length;
  for (let frame = Math.floor(begin / steps) + 1; frame * steps <= begin + length && frame < length; frame++) {
    yield lerp(before, next, (frame * steps - begin) / length);
  }
}

/** Yields the pixels of each latent frame by itself: one frame, then as many as the VAE codes together. */
function byLatentFrame(pixels: AsyncIterable<Tensor>, manifest: Manifest): AsyncGenerator<Tensor> {
  return rechunk(pixels, {
    firstFrames: 1,
    chunkFrames: () => manifest.latent.temporalCompression,
    leadingCopies: 0,
    // A decoder's pieces are all of one clip.
    assertPiece: () => {},
  });
}
