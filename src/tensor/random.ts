// Seeded Gaussian noise, bit-equal to torch.randn with a CPU generator, so that a seed means the same clip as in diffusers.
//
// Sources: M. Matsumoto and T. Nishimura, "Mersenne Twister" (ACM TOMACS 8, 1998); torch 2.13's headers
// ATen/core/MT19937RNGEngine.h, DistributionsHelper.h and native/cpu/DistributionTemplates.h (which draws go where).
import { expected, InvalidOptionError } from '../errors.js';
import { log, sineAndCosine } from './float32.js';
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

/** Turns 16 uniform numbers into 16 normal ones, in float32 as torch's AVX2 code: cosines first, then sines. */
function boxMullerBlock(data: Float32Array, start: number): void {
  for (let index = start; index < start + halfBlock; index++) {
    const radius = fround(Math.sqrt(-2 * log(1 - (data[index] as number))));
    const [sine, cosine] = sineAndCosine(fround(twoPi * (data[index + halfBlock] as number)));
    // Adding 0 turns -0 into 0, as torch's final `x·std + mean` does.
    data[index] = radius * cosine + 0;
    data[index + halfBlock] = radius * sine + 0;
  }
}
