import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NetworkError } from '../../src/errors.js';
import { openSession } from '../../src/networks/open-session.js';
import { causalAnswer, causalShapes, fixture, floats, ints } from './fixtures.js';
import { webGpuSkipReason } from './software-gpu.js';

const skip = await webGpuSkipReason();
const open = (name: string) => openSession(fixture(name), { device: 'webgpu' });
const { piece, states } = causalShapes;

test('WebGPU runs a graph like the CPU, int64 included', { skip }, async () => {
  const session = await open('affine.onnx');
  const result = await session.run({ x: floats([2, 3], [0, 1, 2, 3, 4, -5.5]), i: ints([2], [-1, 7]) });
  assert.deepEqual(result, { y: floats([2, 3], [1, 3, 5, 7, 9, -10]), j: ints([2], [0, 8]) });
  await session.release();
});

test('states stay on the device and pieces give what the whole clip gives', { skip }, async () => {
  const session = await open('causal.onnx');
  for (const lengths of [[7], [1, 4, 2]]) {
    const stream = await session.openStream(states);
    let start = 0;
    for (const length of lengths) {
      assert.deepEqual(await stream.run({ x: piece(start, length) }), causalAnswer(start, length));
      start += length;
    }
    await stream.close();
  }
  await session.release();
});

test('a failed call on WebGPU leaves the states as they were', { skip }, async () => {
  const session = await open('causal.onnx');
  const stream = await session.openStream(states);
  await stream.run({ x: piece(0, 3) });
  await assert.rejects(stream.run({ x: floats([1, 2, 1, 3, 2], new Float32Array(12)) }), NetworkError);
  assert.deepEqual(await stream.run({ x: piece(3, 4) }), causalAnswer(3, 4));
  await stream.close();
  await session.release();
});

test('sine is as exact on WebGPU as on the CPU', { skip }, async () => {
  const session = await open('sine.onnx');
  const x = Float32Array.from({ length: 2001 }, (_, index) => index - 1000);
  const { y } = await session.run({ x: floats([x.length], x) });
  const worst = x.reduce(
    (error, value, index) => Math.max(error, Math.abs(Number(y?.data[index]) - Math.sin(value))),
    0,
  );
  assert.ok(worst < 1e-6, `off by ${worst}`);
  await session.release();
});
