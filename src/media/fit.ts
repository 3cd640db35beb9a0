// How a picture of one size fills a frame of another.

/** `cover` fills the frame and crops what sticks out, `contain` adds black bars, `fill` stretches. */
export type Fit = 'cover' | 'contain' | 'fill';

/** A size in pixels. */
export interface Size {
  width: number;
  height: number;
}

/** A picture is scaled to `scaled`, then cropped or padded evenly to `frame`. */
export interface FitPlan {
  frame: Size;
  scaled: Size;
}

/**
 * Returns how a picture of size `source` (square pixels) fills the wanted frame. A side that isn't given follows from the
 * other by the picture's proportions; with neither, the picture keeps its size.
 */
export function planFit(source: Size, width: number | undefined, height: number | undefined, fit: Fit): FitPlan {
  const frame = {
    width: width ?? (height === undefined ? source.width : atLeastOne((source.width * height) / source.height)),
    height: height ?? (width === undefined ? source.height : atLeastOne((source.height * width) / source.width)),
  };
  if (fit === 'fill' || width === undefined || height === undefined) return { frame, scaled: frame };
  const ratios = [frame.width / source.width, frame.height / source.height];
  const scale = fit === 'cover' ? Math.max(...ratios) : Math.min(...ratios);
  const limit = fit === 'cover' ? Math.max : Math.min; // rounding must not leave a gap, nor stick out
  return {
    frame,
    scaled: {
      width: limit(frame.width, atLeastOne(source.width * scale)),
      height: limit(frame.height, atLeastOne(source.height * scale)),
    },
  };
}

function atLeastOne(length: number): number {
  return Math.max(1, Math.round(length));
}
