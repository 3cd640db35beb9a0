// The quantile function of the symmetric beta distribution, for sigmas spaced by it.

/** Terms after which the continued fraction has long converged for the shapes used here. */
const mostTerms = 300;
const bisections = 60;

/** Returns x with P(X ≤ x) = probability for X of Beta(shape, shape), shape from 0 to 1. */
export function betaQuantile(probability: number, shape: number): number {
  if (probability <= 0) return 0;
  if (probability >= 1) return 1;
  // By symmetry only the lower half is searched, in y = x^shape, in which the distribution is close to a line.
  if (probability > 0.5) return 1 - betaQuantile(1 - probability, shape);
  const half = lowerIntegral(0.5, shape);
  let low = 0;
  let high = 0.5 ** shape;
  for (let i = 0; i < bisections; i++) {
    const middle = (low + high) / 2;
    if (lowerIntegral(middle ** (1 / shape), shape) < 2 * probability * half) low = middle;
    else high = middle;
  }
  return ((low + high) / 2) ** (1 / shape);
}

/**
 * Returns ∫ t^(a-1) (1-t)^(a-1) dt from 0 to x ≤ 1/2. Half of all probability lies below 1/2, so no gamma function is needed.
 * Series: NIST Digital Library of Mathematical Functions, 8.17.7, expanded in powers of x.
 */
function lowerIntegral(x: number, shape: number): number {
  let power = 1;
  let sum = 1 / shape;
  for (let n = 1; n < mostTerms; n++) {
    power *= ((n - shape) / n) * x;
    const term = power / (shape + n);
    sum += term;
    if (term < sum * 2 ** -53) break;
  }
  return x ** shape * sum;
}
