import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { BundleError } from '../../src/errors.js';
import { changeWeights } from '../../src/networks/change-weights.js';
import {
  countParameters,
  dataTypes,
  graphFields,
  modelFields,
  readGraphOutline,
  readNodes,
  tensorFields,
} from '../../src/networks/onnx-file.js';
import { probeModel } from '../../src/networks/probe-model.js';
import { bytesField } from '../../src/networks/proto-writer.js';
import { fixture } from './fixtures.js';

test('the outline of a graph tells its weights, nodes and outputs', () => {
  const outline = readGraphOutline(fixture('affine.onnx'));
  assert.deepEqual(outline, {
    weights: [
      { name: 'scale', shape: [], dataType: dataTypes.float32 },
      { name: 'one', shape: [1], dataType: dataTypes.float32 },
      { name: 'step', shape: [1], dataType: dataTypes.int64 },
    ],
    outputNames: ['y', 'j'],
  });
  assert.deepEqual(readNodes(fixture('affine.onnx')), [
    { name: 'node_scale', opType: 'Mul' },
    { name: 'node_add', opType: 'Add' },
    { name: 'node_step', opType: 'Add' },
  ]);
  assert.equal(countParameters(outline), 3);
  assert.equal(countParameters({ ...outline, weights: [{ name: 'w', shape: [4, 3, 2], dataType: 1 }] }), 24);
});

test('a matrix that is packed has its own shape, and its numbers count', () => {
  const outline = readGraphOutline(fixture('packed.onnx'));
  assert.deepEqual(outline.weights, [
    { name: 'w', shape: [4, 32], dataType: dataTypes.int4 },
    { name: 'scales', shape: [4, 1], dataType: dataTypes.float32 },
  ]);
  assert.equal(countParameters(outline), 4 * 32 + 4);
});

test('nothing can be added to weights that are no floats', () => {
  const values = new Float32Array(1);
  for (const [name, weight] of [
    ['packed.onnx', 'w'],
    ['affine.onnx', 'step'],
  ] as const) {
    assert.throws(
      () => changeWeights(fixture(name), [{ weight, terms: [{ values }] }]),
      /weight \w+ of \w+\.onnx is not stored as floats.*Export the model with --dtype fp32, fp16 or bf16/,
    );
  }
});

test('the probe of devices is the graph that the script makes', async () => {
  assert.deepEqual(probeModel, new Uint8Array(await readFile(fixture('probe.onnx'))));
});

test('a file cut anywhere, or with any byte changed, is read or refused, and nothing else', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'reelspace-onnx-'));
  const path = join(folder, 'model.onnx');
  const whole = await readFile(fixture('affine.onnx'));
  let refused = 0;
  const read = async (bytes: Uint8Array) => {
    await writeFile(path, bytes);
    try {
      readGraphOutline(path);
    } catch (error) {
      assert.ok(error instanceof BundleError, String(error));
      assert.match(error.message, /model\.onnx to be an ONNX model/);
      refused++;
    }
  };
  for (let length = 0; length < whole.length; length++) await read(whole.subarray(0, length));
  // Only a cut behind the last field of the graph, in front of the opset, leaves a whole outline.
  assert.ok(refused >= whole.length - 10, `${refused} of ${whole.length} cuts were refused`);
  for (let at = 0; at < whole.length; at++) {
    const changed = Uint8Array.from(whole);
    changed[at] = 0xff;
    await read(changed);
  }
  await rm(folder, { recursive: true });
});

test('a graph that claims more than networks have is refused', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'reelspace-onnx-'));
  const path = join(folder, 'model.onnx');
  const read = async (...graphs: Uint8Array[][]) => {
    const output = bytesField(graphFields.output, bytesField(1, 'y'));
    await writeFile(
      path,
      Buffer.concat(graphs.flatMap((graph) => bytesField(modelFields.graph, [...graph, ...output]))),
    );
    return readGraphOutline(path);
  };
  const tensor = (dims: number) =>
    bytesField(graphFields.initializer, bytesField(tensorFields.dims, Buffer.alloc(dims, 3)));
  const nodes = (count: number) => [Buffer.alloc(2 * count, Uint8Array.of((graphFields.node << 3) | 2, 0))];
  const { weights } = await read([...tensor(16), ...nodes(100_000)]);
  assert.deepEqual(weights, [{ name: '', shape: new Array(16).fill(3), dataType: 0 }]);
  for (const graphs of [[tensor(17)], [nodes(1_000_000)], [nodes(1), nodes(1)]]) {
    await assert.rejects(read(...graphs), /model\.onnx to be an ONNX model/);
  }
  await rm(folder, { recursive: true });
});
