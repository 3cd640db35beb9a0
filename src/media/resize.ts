// Frames to another size with sharp's Lanczos filter (three lobes), as diffusers resizes its inputs.
import sharp from 'sharp';
import type { FitPlan } from './fit.js';
import type { Frame } from './frame.js';

const black = { r: 0, g: 0, b: 0 };

/** Returns a new frame that is scaled, then cropped or padded, by the plan. */
export async function fitFrame(source: Frame, plan: FitPlan): Promise<Frame> {
  const { frame, scaled } = plan;
  const raw = { width: source.width, height: source.height, channels: 3 as const };
  const image = sharp(source.data, { raw }).resize(scaled.width, scaled.height, { fit: 'fill', kernel: 'lanczos3' });
  const left = Math.floor(Math.abs(scaled.width - frame.width) / 2);
  const top = Math.floor(Math.abs(scaled.height - frame.height) / 2);
  if (scaled.width > frame.width || scaled.height > frame.height) {
    image.extract({ left, top, width: frame.width, height: frame.height });
  } else if (scaled.width < frame.width || scaled.height < frame.height) {
    const right = frame.width - scaled.width - left;
    const bottom = frame.height - scaled.height - top;
    image.extend({ left, top, right, bottom, background: black });
  }
  const data = await image.raw().toBuffer();
  return { width: frame.width, height: frame.height, data: new Uint8Array(data.buffer, data.byteOffset, data.length) };
}
