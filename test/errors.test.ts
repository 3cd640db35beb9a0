import assert from 'node:assert/strict';
import { test } from 'node:test';
import { expected } from '../src/errors.js';

test('values are shown in short, however long or deep they are', () => {
  let deep: unknown[] = [];
  for (let level = 0; level < 100_000; level++) deep = [deep];
  const cases: [value: unknown, shown: string][] = [
    [[1, 'a', null, { a: 1 }], '[1, "a", null, object]'],
    [[[1, 2], [[3]]], '[[1, 2], [[…]]]'],
    [deep, '[[[…]]]'],
    [new Array(8).fill(0), '[0, 0, 0, 0, 0, 0, 0, 0]'],
    [new Array(5_000_000).fill(0), '[0, 0, 0, 0, 0, 0, 0, 0, …]'],
    ['x'.repeat(81), `"${'x'.repeat(80)}…"`],
  ];
  for (const [value, shown] of cases)
    assert.equal(expected('it', 'other', value), `Expected it to be other, got ${shown}.`);
});
