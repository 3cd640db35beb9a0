// A control clip as part of what a clip starts from, and pictures of what it is to show.
import { InvalidOptionError, MediaError } from '../errors.js';
import { readCutout } from '../media/cutout.js';
import type { Frame } from '../media/frame.js';
import { framesToPixels } from '../media/pixels.js';
import { probe } from '../media/probe.js';
import { readFrames } from '../media/read-frames.js';
import type { Model } from '../networks/model.js';
import { axis, concat, createTensor, filled, type Tensor } from '../tensor/tensor.js';
import { requireTask } from './conditions.js';
import type { ControlClip } from './control-clip.js';
import { pixelFrames, type Size } from './geometry.js';
import type { RunContext } from './progress.js';
import type { Start } from './start.js';
import { encodePixels } from './stills.js';
import { tellClip } from './told-clip.js';

/** Returns what a clip of `shape` [1, C, t, h, w] that is made anew from end to end starts from, under that control or none. */
export async function startFromControl(
  model: Model,
  clip: ControlClip | undefined,
  shape: readonly number[],
  context: RunContext,
): Promise<Start> {
  if (clip === undefined) return tellClip(model, shape, () => ({}), context);
  const frames = await clip.take(0, pixelFrames(model.manifest, shape[axis.time] as number));
  return tellClip(model, shape, (at) => ({ remade: frames[at] }), context);
}

/** Returns the picture of what a clip shows that the denoiser takes beside the prompt, [1, 4, S, S], where it takes one: Wan VACE
 * has latent frames in front of the clip for that (`withReferences`). Throws where the model can do neither, and for several. */
export async function readReference({ name, manifest }: Model, paths: string | undefined): Promise<Tensor | undefined> {
  if (paths === undefined) return undefined;
  requireTask(manifest, 'reference');
  const { referenceSide } = manifest.graphs.denoiser;
  if (referenceSide === undefined) return undefined;
  const [path, ...others] = paths.split(',') as [string, ...string[]];
  if (others.length === 0) return readCutout(path, referenceSide);
  throw new InvalidOptionError(
    `Expected one reference, as model "${name}" takes one picture, got ${others.length + 1}. Leave ${others.join(', ')} out.`,
  );
}

/** Returns the start with a latent frame in front for each picture of what the clip is to show, later ones first; `paths` are
 * separated by commas. */
export async function withReferences(
  model: Model,
  start: Start,
  paths: string | undefined,
  size: Size,
  context: RunContext,
): Promise<Start> {
  const { told, controlLatents } = start;
  if (paths === undefined || told === undefined || controlLatents === undefined) return start;
  const coded: Tensor[] = [];
  for (const path of paths.split(',')) {
    const picture = await readWhole(path, model.manifest.latent.spatialCompression, context);
    async function* pixels() {
      yield onWhite(picture, size);
    }
    coded.unshift((await encodePixels(model, pixels(), context)).latents);
  }
  const lead = coded.length;
  const before = (front: Tensor | number, rest: Tensor) =>
    concat([typeof front === 'number' ? filled(rest.shape.with(axis.time, lead), front) : front, rest], axis.time);
  return {
    ...start,
    lead,
    told: {
      latents: before(concat(coded, axis.time), told.latents),
      frames: before(1, told.frames),
      pixels: told.pixels === undefined ? undefined : before(1, told.pixels),
    },
    controlLatents: before(0, controlLatents),
  };
}

/** Returns a picture at its own size, rounded down to the multiple as diffusers does. */
async function readWhole(path: string, multiple: number, { signal }: RunContext): Promise<Frame> {
  const info = await probe(path, { signal });
  const [width, height] = [info.width, info.height].map((side) => Math.max(multiple, side - (side % multiple)));
  for await (const frame of readFrames(path, { width, height, fit: 'fill', maxFrames: 1, signal })) return frame;
  throw new MediaError(`Expected at least one frame in ${path}, got none. Check that it is an image.`);
}

/** Returns pixels [1, 3, 1, H, W] of a picture scaled to fit the size, by bilinear sampling, in the middle of white. */
export function onWhite(picture: Frame, size: Size): Tensor {
  const scale = Math.min(size.height / picture.height, size.width / picture.width);
  const height = Math.trunc(picture.height * scale);
  const width = Math.trunc(picture.width * scale);
  const top = Math.floor((size.height - height) / 2);
  const left = Math.floor((size.width - width) / 2);
  const source = framesToPixels([picture]).data;
  const rows = sampling(picture.height, height);
  const columns = sampling(picture.width, width);
  const result = createTensor([1, 3, 1, size.height, size.width]);
  result.data.fill(1);
  for (let channel = 0; channel < 3; channel++) {
    const plane = source.subarray(channel * picture.height * picture.width);
    const at = (y: number, x: number) => plane[y * picture.width + x] as number;
    for (const [y, row] of rows.entries()) {
      for (const [x, column] of columns.entries()) {
        const above = at(row.from, column.from) * (1 - column.share) + at(row.from, column.to) * column.share;
        const below = at(row.to, column.from) * (1 - column.share) + at(row.to, column.to) * column.share;
        result.data[(channel * size.height + top + y) * size.width + left + x] =
          above * (1 - row.share) + below * row.share;
      }
    }
  }
  return result;
}

interface Sample {
  readonly from: number;
  readonly to: number;
  /** Of `to`. */
  readonly share: number;
}

/** Returns where each of `count` positions lies between those of a line of `length`, centres meeting centres. */
function sampling(length: number, count: number): Sample[] {
  return Array.from({ length: count }, (_, index) => {
    const place = Math.max(0, (index + 0.5) * (length / count) - 0.5);
    const from = Math.min(Math.floor(place), length - 1);
    return { from, to: Math.min(from + 1, length - 1), share: place - from };
  });
}
