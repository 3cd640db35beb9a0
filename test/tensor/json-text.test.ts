import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isShallow } from '../../src/tensor/json-text.js';

test('levels and lists of a JSON text are counted outside of its strings', () => {
  const text = JSON.stringify({ a: [{ '[[[': '{"[[' }, '\\"[[', '\\'], b: [] });
  assert.ok(isShallow(text, 3));
  assert.ok(!isShallow(text, 2));
  assert.ok(isShallow(`[${'{},'.repeat(1_999_998)}{}]`, 2));
  assert.ok(!isShallow(`[${'{},'.repeat(2_000_000)}{}]`, 2));
  assert.ok(!isShallow('['.repeat(20_000_000), 64));
});

test('texts that are no JSON are gone through as well', () => {
  for (const text of ['', '"', '"\\', ']]]', '"a', '{"a": "\\"', '"'.repeat(1_000_001)])
    assert.ok(isShallow(text, 1), text.slice(0, 9));
});
