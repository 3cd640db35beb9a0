// How a change from one picture to another spreads: it begins in the middle of what differs and goes outwards, so that at any
// time little of the picture is half the one and half the other.
import { axis, lengthOf, sizeOf, type Tensor } from '../tensor/tensor.js';

/**
 * Returns for each position [h·w] of latent frames [1, C, 1, h, w] how much of the change lies before it, of all change from the
 * one frame to the other: from 0 in the middle to 1 furthest out. A front that passes positions at their shares changes the
 * picture at an even pace.
 */
export function changeBefore(from: Tensor, to: Tensor): Float64Array {
  const positions = sizeOf(from.shape.slice(axis.time));
  const width = lengthOf(from, axis.width);
  const changes = new Float64Array(positions);
  for (const [at, value] of from.data.entries()) {
    changes[at % positions] = (changes[at % positions] as number) + (value - (to.data[at] as number)) ** 2;
  }
  let total = 0;
  let column = 0;
  let row = 0;
  for (const [position, change] of changes.entries()) {
    total += change;
    column += change * (position % width);
    row += change * Math.floor(position / width);
  }
  const before = new Float64Array(positions);
  if (total === 0) return before;
  const distances = Array.from(changes, (_, position) =>
    Math.hypot((position % width) - column / total, Math.floor(position / width) - row / total),
  );
  const outwards = [...distances.keys()].sort((a, b) => (distances[a] as number) - (distances[b] as number));
  let sum = 0;
  for (const position of outwards) {
    const change = changes[position] as number;
    before[position] = (sum + change / 2) / total;
    sum += change;
  }
  return before;
}

/**
 * Returns how far each position has changed, 0 to 1, where `share` of all change is done. `spread` from 0 to less than 1: at 0
 * all positions change together; near 1 each changes at once when the front is there.
 */
export function changedAt(before: Float64Array, share: number, spread: number): Float64Array {
  const front = frontAt(share, spread);
  return before.map((own) => changedBehind(front, own, spread));
}

function changedBehind(front: number, before: number, spread: number): number {
  return Math.min(1, Math.max(0, (front - spread * before) / (1 - spread)));
}

/** Returns the front, 0 to 1, behind which `share` of all change is done: found by halving, as the sum grows with it. */
function frontAt(share: number, spread: number): number {
  if (spread === 0 || share === 0 || share === 1) return share;
  let [low, high] = [0, 1];
  for (let halving = 0; halving < 40; halving++) {
    const front = (low + high) / 2;
    const done = (changedUpTo(front, spread) - changedUpTo(front - spread, spread)) / spread;
    if (done < share) low = front;
    else high = front;
  }
  return (low + high) / 2;
}

/** Returns the integral of `changedBehind` up to that front, of a position with nothing before it. */
function changedUpTo(front: number, spread: number): number {
  const ramp = 1 - spread;
  return front <= 0 ? 0 : front < ramp ? front ** 2 / (2 * ramp) : front - ramp / 2;
}

/**
 * Returns for each position, in rows of `width`, how near the front is: 4·c·(1 - c), where c is how far it has changed, or that
 * of a neighbour where it is more. Seams lie beside positions that are half changed.
 */
export function atFront(changed: Float64Array, width: number): Float32Array {
  const own = changed.map((share) => 4 * share * (1 - share));
  const lastRow = changed.length / width - 1;
  return Float32Array.from(own, (_, position) => {
    const [row, column] = [Math.floor(position / width), position % width];
    let most = 0;
    for (let y = Math.max(0, row - 1); y <= Math.min(lastRow, row + 1); y++) {
      for (let x = Math.max(0, column - 1); x <= Math.min(width - 1, column + 1); x++) {
        most = Math.max(most, own[y * width + x] as number);
      }
    }
    return most;
  });
}
