// Where a picture has edges (Canny 1986, "A computational approach to edge detection"), as OpenCV finds them, whose maps
// edge-following models were trained on: Sobel's derivatives of the picture as it is, with no smoothing before.
import type { Frame } from './frame.js';

/** Steepness, as the sum of both derivatives' sizes, from above which an edge goes on, and above which one starts. */
const thresholds = { goesOn: 100, starts: 200 } as const;

/** Slopes that part the four directions, tan 22.5° and tan 67.5°, in 15 bits behind the point. */
const slopeBits = 15;
const lowSlope = Math.round(Math.tan(Math.PI / 8) * 2 ** slopeBits);

const weak = 1;
const strong = 2;

/** Returns white lines, one pixel wide, on black (new frame). */
export function findEdges(frame: Frame): Frame {
  const { width, height } = frame;
  const { dx, dy } = steepest(frame);
  // With a border of zeros, so that neighbours need no bounds.
  const stride = width + 2;
  const steepness = new Int32Array(stride * (height + 2));
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const at = y * width + x;
      steepness[(y + 1) * stride + x + 1] = Math.abs(dx[at] as number) + Math.abs(dy[at] as number);
    }
  }
  const marks = new Uint8Array(steepness.length);
  const starts: number[] = [];
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const place = (y + 1) * stride + x + 1;
      const own = steepness[place] as number;
      if (own <= thresholds.goesOn) continue;
      const at = y * width + x;
      if (!isRidge(steepness, place, stride, dx[at] as number, dy[at] as number)) continue;
      marks[place] = own > thresholds.starts ? strong : weak;
      if (own > thresholds.starts) starts.push(place);
    }
  }
  follow(marks, starts, stride);
  const data = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      if (marks[(y + 1) * stride + x + 1] !== strong) continue;
      const at = (y * width + x) * 3;
      data.fill(255, at, at + 3);
    }
  }
  return { width, height, data };
}

/** Returns Sobel's derivatives of each pixel's steepest channel; beyond the picture counts as its nearest pixel. */
function steepest({ width, height, data }: Frame): { dx: Int16Array; dy: Int16Array } {
  const dx = new Int16Array(width * height);
  const dy = new Int16Array(width * height);
  for (let y = 0; y < height; y++) {
    const above = Math.max(0, y - 1) * width;
    const here = y * width;
    const below = Math.min(height - 1, y + 1) * width;
    for (let x = 0; x < width; x++) {
      const left = Math.max(0, x - 1);
      const right = Math.min(width - 1, x + 1);
      let most = -1;
      for (let channel = 0; channel < 3; channel++) {
        const level = (row: number, column: number) => data[(row + column) * 3 + channel] as number;
        const downLeft = level(below, left) - level(above, right);
        const downRight = level(below, right) - level(above, left);
        const across = downRight - downLeft + 2 * (level(here, right) - level(here, left));
        const down = downRight + downLeft + 2 * (level(below, x) - level(above, x));
        const own = Math.abs(across) + Math.abs(down);
        if (own <= most) continue;
        most = own;
        dx[here + x] = across;
        dy[here + x] = down;
      }
    }
  }
  return { dx, dy };
}

/** Whether a place is steeper than its two neighbours across the edge. Of two that are equally steep, the first one counts. */
function isRidge(steepness: Int32Array, place: number, stride: number, dx: number, dy: number): boolean {
  const own = steepness[place] as number;
  const at = (offset: number) => steepness[place + offset] as number;
  const across = Math.abs(dx);
  const down = Math.abs(dy) * 2 ** slopeBits;
  const low = across * lowSlope;
  if (down < low) return own > at(-1) && own >= at(1);
  // tan 67.5° is tan 22.5° + 2.
  if (down > low + across * 2 ** (slopeBits + 1)) return own > at(-stride) && own >= at(stride);
  const side = dx < 0 !== dy < 0 ? -1 : 1;
  return own > at(-stride - side) && own > at(stride + side);
}

/** Turns weak marks that touch strong ones, over any number of weak ones, into strong ones. */
function follow(marks: Uint8Array, starts: number[], stride: number): void {
  const neighbours = [-stride - 1, -stride, -stride + 1, -1, 1, stride - 1, stride, stride + 1];
  for (let place = starts.pop(); place !== undefined; place = starts.pop()) {
    for (const offset of neighbours) {
      if (marks[place + offset] !== weak) continue;
      marks[place + offset] = strong;
      starts.push(place + offset);
    }
  }
}
