// Seeded Gaussian noise, bit-equal to torch.randn with a CPU generator, so that a seed means the same clip as in diffusers.
//
// Sources: M. Matsumoto and T. Nishimura, "Mersenne Twister" (ACM TOMACS 8, 1998); torch 2.13's headers
// ATen/core/MT19937RNGEngine.h, DistributionsHelper.h and native/cpu/DistributionTemplates.h (which draws go where);
// S. Moshier's Cephes library, single precision logf and sinf/cosf (the polynomials of torch's AVX2 path).
import { expected, InvalidOptionError } from '../errors.js';
import { sizeOf, type Tensor } from './tensor.js';

const stateLength = 624;
const stateOffset = 397;
const highestSeed = 2n ** 64n - 1n;
/** From this size on torch fills whole blocks of 16 in float32; below, it draws one number at a time in double. */
const blockLength = 16;
const halfBlock = blockLength / 2;

/** Noise from one seed. Each draw moves the sequence on, exactly as repeated torch.randn calls move a generator. */
export class TorchRandom {
  readonly #state = new Uint32Array(stateLength);
  #position = stateLength;
  /** The sine half of the last pair drawn one at a time, which the next such draw uses up. */
  #spare: number | undefined;

  /** Takes an integer from 0 to 2^64-1. As in torch, only the low 32 bits count. */
  constructor(seed: number | bigint) {
    const isWhole = typeof seed === 'bigint' || Number.isSafeInteger(seed);
    if (!isWhole || seed < 0 || seed > highestSeed) {
      throw new InvalidOptionError(expected('seed', 'a whole number from 0 to 2^53-1 (or a bigint to 2^64-1)', seed));
    }
    const state = this.#state;
    let previous = Number(BigInt.asUintN(32, BigInt(seed)));
    state[0] = previous;
    for (let index = 1; index < stateLength; index++) {
      previous = (Math.imul(1812433253, previous ^ (previous >>> 30)) + index) >>> 0;
      state[index] = previous;
    }
  }

  /** Returns fresh standard normal noise of that shape, the bits of torch.randn(shape, generator); the caller owns it. */
  normal(shape: readonly number[]): Tensor {
    const data = new Float32Array(sizeOf(shape));
    if (data.length < blockLength) {
      for (let index = 0; index < data.length; index++) data[index] = this.#nextNormal();
      return { data, shape };
    }
    this.#fillUniform(data, 0);
    const lastStart = data.length - blockLength;
    for (let start = 0; start <= lastStart; start += blockLength) boxMullerBlock(data, start);
    if (data.length % blockLength !== 0) {
      // torch redraws the last 16 numbers, over some that it has already made.
      this.#fillUniform(data, lastStart);
      boxMullerBlock(data, lastStart);
    }
    return { data, shape };
  }

  /** Writes uniform numbers of 24 bits in [0, 1) from `start` to the end. */
  #fillUniform(data: Float32Array, start: number): void {
    for (let index = start; index < data.length; index++) data[index] = (this.#nextWord() & 0xffffff) * 2 ** -24;
  }

  /** Returns one normal number by Box and Muller's method in double precision. */
  #nextNormal(): number {
    if (this.#spare !== undefined) {
      const spare = this.#spare;
      this.#spare = undefined;
      return spare;
    }
    const angle = 2 * Math.PI * this.#nextDouble();
    const radius = Math.sqrt(-2 * Math.log1p(-this.#nextDouble()));
    this.#spare = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  }

  /** Returns a uniform number of 53 bits in [0, 1): the low 21 bits of one word, then all of the next. */
  #nextDouble(): number {
    const high = this.#nextWord() & 0x1fffff;
    return (high * 2 ** 32 + this.#nextWord()) * 2 ** -53;
  }

  /** Returns the next 32-bit word of the Mersenne Twister. */
  #nextWord(): number {
    if (this.#position === stateLength) this.#twist();
    let word = this.#state[this.#position++] as number;
    word ^= word >>> 11;
    word ^= (word << 7) & 0x9d2c5680;
    word ^= (word << 15) & 0xefc60000;
    return (word ^ (word >>> 18)) >>> 0;
  }

  #twist(): void {
    const state = this.#state;
    let current = state[0] as number;
    for (let index = 0; index < stateLength; index++) {
      const next = state[(index + 1) % stateLength] as number;
      const mixed = (current & 0x80000000) | (next & 0x7fffffff);
      const shifted = (mixed >>> 1) ^ (next & 1 ? 0x9908b0df : 0);
      state[index] = (state[(index + stateOffset) % stateLength] as number) ^ shifted;
      current = next;
    }
    this.#position = 0;
  }
}

const { fround } = Math;
const twoPi = fround(2 * Math.PI);
const fourOverPi = fround(4 / Math.PI);
const halfRoot = fround(Math.SQRT1_2);
// Cephes' minimax coefficients, highest power first.
const logSeries = [
  7.0376836292e-2, -1.151461031e-1, 1.167699874e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
  2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
].map(fround);
const cos0 = fround(2.443315711809948e-5);
const cos1 = fround(-1.388731625493765e-3);
const cos2 = fround(4.166664568298827e-2);
const sin0 = fround(-1.9515295891e-4);
const sin1 = fround(8.3321608736e-3);
const sin2 = fround(-1.6666654611e-1);
// ln 2 and π/4 as sums of floats, so that multiples can be taken off with hardly any rounding.
const ln2Low = fround(-2.1219444e-4);
const ln2High = 0.693359375;
const quarterPi0 = 0.78515625;
const quarterPi1 = fround(2.4187564849853516e-4);
const quarterPi2 = fround(3.774894977445941e-8);

/** Turns 16 uniform numbers into 16 normal ones, in float32 as torch's AVX2 code: cosines first, then sines. */
function boxMullerBlock(data: Float32Array, start: number): void {
  for (let index = start; index < start + halfBlock; index++) {
    const radius = fround(Math.sqrt(-2 * logf(1 - (data[index] as number))));
    const angle = fround(twoPi * (data[index + halfBlock] as number));
    // Take off a whole even number of eighths of a turn: what is left lies within ±π/4.
    const octant = (Math.trunc(fround(angle * fourOverPi)) + 1) & ~1;
    let rest = fma(-octant, quarterPi0, angle);
    rest = fma(-octant, quarterPi1, rest);
    rest = fma(-octant, quarterPi2, rest);
    const square = fround(rest * rest);
    let cosine = fround(fma(fma(cos0, square, cos1), square, cos2) * square);
    cosine = fround(fma(cosine, square, -square / 2) + 1);
    const sineSeries = fround(fma(fma(sin0, square, sin1), square, sin2) * square);
    const sine = fma(sineSeries, rest, rest);
    const swapped = (octant & 2) !== 0;
    const cosineSign = ((octant + 2) & 4) === 0 ? 1 : -1;
    const sineSign = (octant & 4) === 0 ? 1 : -1;
    // Adding 0 turns -0 into 0, as torch's final `x·std + mean` does.
    data[index] = radius * cosineSign * (swapped ? sine : cosine) + 0;
    data[index + halfBlock] = radius * sineSign * (swapped ? cosine : sine) + 0;
  }
}

const bits = new DataView(new ArrayBuffer(4));

/** Returns the natural logarithm of a normal float32 above 0, rounded step by step as Cephes' logf. */
function logf(value: number): number {
  bits.setFloat32(0, value);
  const word = bits.getUint32(0);
  let exponent = (word >>> 23) - 126;
  bits.setUint32(0, (word & 0x807fffff) | 0x3f000000);
  let x = bits.getFloat32(0); // in [1/2, 1)
  if (x < halfRoot) {
    exponent -= 1;
    x = fround(x - 1 + x);
  } else {
    x -= 1;
  }
  const square = fround(x * x);
  let y = logSeries[0] as number;
  for (let index = 1; index < logSeries.length; index++) y = fma(y, x, logSeries[index] as number);
  y = fround(y * x);
  y = fma(y, square, fround(exponent * ln2Low));
  y = fround(y - square / 2);
  return fma(exponent, ln2High, fround(x + y));
}

/** Returns a·b + c of three float32 numbers, rounded once to float32. */
function fma(a: number, b: number, c: number): number {
  const product = a * b; // exact: 24 + 24 bits fit in 53
  const sum = product + c;
  const rounded = fround(sum);
  const mirrored = sum + (sum - rounded);
  if (sum === rounded || fround(mirrored) !== mirrored) return rounded;
  // `sum` lies halfway between two floats; what its own rounding dropped decides.
  const part = sum - product;
  const dropped = product - (sum - part) + (c - part);
  if (dropped === 0) return rounded;
  return dropped > 0 ? Math.max(rounded, mirrored) : Math.min(rounded, mirrored);
}
