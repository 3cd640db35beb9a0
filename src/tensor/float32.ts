// Logarithm, sine and cosine in float32, rounded operation by operation as the code that torch draws noise with.
//
// Sources: S. Moshier's Cephes library, single precision logf and sinf/cosf (polynomials and argument reduction), in the order
// of operations of torch's native/cpu/avx_mathfun.h, where a product that is only added to something is not rounded itself.
const { fround } = Math;
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

/** Returns sine and cosine of a float32 angle from 0 to 8192. */
export function sineAndCosine(angle: number): readonly [sine: number, cosine: number] {
  // Take off a whole even number of eighths of a turn: what is left lies within ±π/4.
  const octant = (Math.trunc(fround(angle * fourOverPi)) + 1) & ~1;
  let rest = fma(-octant, quarterPi0, angle);
  rest = fma(-octant, quarterPi1, rest);
  rest = fma(-octant, quarterPi2, rest);
  const square = fround(rest * rest);
  const cosineSeries = fround(fma(fma(cos0, square, cos1), square, cos2) * square);
  const cosine = fround(fma(cosineSeries, square, -square / 2) + 1);
  const sineSeries = fround(fma(fma(sin0, square, sin1), square, sin2) * square);
  const sine = fma(sineSeries, rest, rest);
  const swapped = (octant & 2) !== 0;
  const sineSign = (octant & 4) === 0 ? 1 : -1;
  const cosineSign = ((octant + 2) & 4) === 0 ? 1 : -1;
  return [sineSign * (swapped ? cosine : sine), cosineSign * (swapped ? sine : cosine)];
}

const bits = new DataView(new ArrayBuffer(4));

/** Returns the natural logarithm of a normal float32 above 0, rounded step by step as Cephes' logf. */
export function log(value: number): number {
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
export function fma(a: number, b: number, c: number): number {
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
