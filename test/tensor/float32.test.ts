import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fma, log, sineAndCosine } from '../../src/tensor/float32.js';

const { fround } = Math;

test('fma rounds once, also where rounding the sum to double first would land halfway', () => {
  // (1 + u)(1 - u + u²) = 1 + u³ and (1 - u)(1 + u + u²) = 1 - u³, far below what double keeps beside 1.
  const above = 2 ** -12;
  assert.equal(fma(1 + above, 2 ** -24 * (1 - above + above ** 2), 1), 1 + 2 ** -23);
  assert.equal(fma(-1 - above, 2 ** -24 * (1 - above + above ** 2), -1), -1 - 2 ** -23);
  const below = 2 ** -11;
  assert.equal(fma(1 - below, 2 ** -24 * (1 + below + below ** 2), 1 + 2 ** -23), 1 + 2 ** -23);
  assert.equal(fma(below - 1, 2 ** -24 * (1 + below + below ** 2), -1 - 2 ** -23), -1 - 2 ** -23);
  // Exactly halfway goes to the even neighbour.
  assert.equal(fma(1, 2 ** -24, 1), 1);
  assert.equal(fma(1, 2 ** -24, 1 + 2 ** -23), 1 + 2 ** -22);
});

test('fma keeps what rounding the product would lose', () => {
  const x = fround(1 + 2 ** -12);
  assert.equal(fma(x, x, -fround(x * x)), x * x - fround(x * x));
});

test('log, sine and cosine are right to float32 precision', () => {
  for (let i = 1; i <= 4096; i++) {
    const x = i / 4096;
    assert.ok(Math.abs(log(x) - Math.log(x)) <= 2 ** -23 * Math.max(1, Math.abs(Math.log(x))));
    const angle = fround(2 * Math.PI * x);
    const [sine, cosine] = sineAndCosine(angle);
    assert.ok(Math.abs(sine - Math.sin(angle)) < 2 ** -23);
    assert.ok(Math.abs(cosine - Math.cos(angle)) < 2 ** -23);
  }
});
