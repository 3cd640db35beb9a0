import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toTable } from './report.js';
import { type Comparison, inTurns, ratioOf, spreadOf } from './result.js';

const row: Comparison = { name: 'decode', against: 'PyTorch', unit: 'seconds', ours: [2, 3, 4], theirs: [1, 2, 1] };

test('a spread is the median with the least and the greatest', () => {
  assert.deepEqual(spreadOf([5, 1, 3]), { median: 3, min: 1, max: 5 });
  assert.deepEqual(spreadOf([4, 1, 2, 8]), { median: 3, min: 1, max: 8 });
});

test('a ratio is that of the medians, and ranges over the rounds', () => {
  assert.deepEqual(ratioOf(row), { median: 3, min: 1.5, max: 4 });
  assert.deepEqual(ratioOf({ ...row, ours: [2], theirs: [4] }), { median: 0.5, min: 0.5, max: 0.5 });
  assert.deepEqual(ratioOf({ ...row, ours: [2, 4], theirs: [4] }), { median: 0.75, min: 0.5, max: 1 });
  assert.deepEqual(ratioOf({ ...row, ours: [6], theirs: [1, 2, 4] }), { median: 3, min: 1.5, max: 6 });
  assert.equal(ratioOf({ ...row, theirs: [] }), undefined);
});

test('ways take turns, every other round backwards, and results keep their order', async () => {
  const order: string[] = [];
  const way = (name: string) => async () => {
    order.push(name);
    return `${name}${order.length}`;
  };
  assert.deepEqual(await inTurns(3, [way('a'), way('b')]), [
    ['a1', 'a4', 'a5'],
    ['b2', 'b3', 'b6'],
  ]);
  assert.deepEqual(order, ['a', 'b', 'b', 'a', 'a', 'b']);
});

test('a table has a line for each row, its note and each failure', () => {
  const outcomes = [
    { name: 'decode', rows: [{ ...row, note: 'whole clips' }] },
    { name: 'memory', rows: [], error: 'no model' },
    { name: 'start', rows: [{ ...row, name: 'start', ours: [0.0123], theirs: [] }] },
    { name: 'wan', rows: [{ ...row, name: 'wan', ours: [], theirs: [], note: 'no Python' }] },
  ];
  assert.equal(
    toTable(outcomes),
    [
      '        reelspace                  against                             ratio',
      'decode  3.00 s (2.00 s to 4.00 s)  PyTorch  1.00 s (1.00 s to 2.00 s)  3.00x (1.50x to 4.00x)',
      '    whole clips',
      'memory  failed',
      '    no model',
      'start   12.3 ms                    PyTorch  -                          -',
      'wan     -                          PyTorch  -                          -',
      '    no Python',
    ].join('\n'),
  );
});
