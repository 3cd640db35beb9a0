import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { BundleError } from '../../src/errors.js';
import { bytesField } from '../../src/networks/proto-writer.js';
import { readWeightFiles } from '../../src/networks/weight-files.js';

const folder = await mkdtemp(join(tmpdir(), 'reelspace-weights-'));
after(() => rm(folder, { recursive: true }));

type Parts = readonly Uint8Array[];
/** Field numbers of onnx.proto. */
const at = (field: number, ...contents: Parts[]): Uint8Array[] => bytesField(field, contents.flat());
const text = (field: number, value: string): Uint8Array[] => bytesField(field, value);
const tensor = (location: string): Uint8Array[] => [
  ...text(8, 'w'),
  ...at(13, text(1, 'offset'), text(2, '0')),
  ...at(13, text(1, 'location'), text(2, location)),
];

async function read(model: Parts): Promise<Set<string>> {
  const path = join(folder, 'model.onnx');
  await writeFile(path, Buffer.concat(model));
  return readWeightFiles(path);
}

test('weights in other files are found wherever a graph holds tensors', async () => {
  const subgraph = at(1, at(5, at(6, at(5, tensor('inner')))));
  const found = await read([
    ...at(
      7,
      at(5, text(9, 'x'.repeat(100_000)), tensor('initializer')),
      at(1, text(4, 'Constant'), at(5, at(5, tensor('constant')))),
      at(1, at(5, at(10, tensor('one of many')))),
      at(1, at(5, at(11, subgraph))),
      at(1, text(3, 'x'.repeat(100_000)), at(5, at(22, at(1, tensor('sparse'))))),
      at(15, at(1, tensor('values')), at(2, tensor('indices'))),
    ),
    ...at(25, at(7, at(5, at(5, tensor('function'))))),
  ]);
  const places = ['initializer', 'constant', 'one of many', 'inner', 'sparse', 'values', 'indices', 'function'];
  assert.deepEqual([...found], places);
  assert.deepEqual(
    await read(at(7, at(5, text(8, 'location')), at(5, at(13, text(1, 'length'), text(2, '4'))))),
    new Set(),
  );
});

test('graphs in graphs without end are refused', async () => {
  let graph: Uint8Array[] = at(5, tensor('deep'));
  for (let level = 0; level < 20; level++) graph = at(1, at(5, at(6, graph)));
  assert.deepEqual(await read(at(7, graph)), new Set(['deep']));
  for (let level = 0; level < 2000; level++) graph = [Buffer.concat(at(1, at(5, at(6, graph))))];
  await assert.rejects(read(at(7, graph)), BundleError);
});
