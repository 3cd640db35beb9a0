import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { CancelledError, NetworkError } from '../../src/errors.js';
import { openSession } from '../../src/networks/open-session.js';
import type { NetworkSession } from '../../src/networks/session.js';
import { causalAnswer, causalShapes, fixture, floats, slowFeeds } from './fixtures.js';

let causal: NetworkSession;
before(async () => {
  causal = await openSession(fixture('causal.onnx'), { device: 'cpu' });
});
after(() => causal.release());

const { whole, piece, states } = causalShapes;

test('a clip in pieces gives what the whole clip gives, from states that start at zero', async () => {
  for (const lengths of [[7], [1, 4, 2], [2, 2, 2, 1]]) {
    const stream = await causal.openStream(states);
    let start = 0;
    for (const length of lengths) {
      const answer = await stream.run({ x: piece(start, length) });
      assert.deepEqual(answer, causalAnswer(start, length), `pieces of ${lengths}, from ${start}`);
      start += length;
    }
    await stream.close();
  }
});

test('answers are the caller’s: a later call does not write into them', async () => {
  const stream = await causal.openStream(states);
  const first = await stream.run({ x: piece(0, 3) });
  await stream.run({ x: piece(3, 2) });
  await stream.run({ x: piece(5, 2) });
  assert.deepEqual(first, causalAnswer(0, 3));
  await stream.close();
});

test('two streams of a session do not disturb each other', async () => {
  const one = await causal.openStream(states);
  const other = await causal.openStream(states);
  await Promise.all([one.run({ x: piece(0, 3) }), other.run({ x: piece(0, 1) })]);
  const [a, b] = await Promise.all([one.run({ x: piece(3, 4) }), other.run({ x: piece(1, 6) })]);
  assert.deepEqual(a, causalAnswer(3, 4));
  assert.deepEqual(b, causalAnswer(1, 6));
  await Promise.all([one.close(), other.close()]);
});

test('a failed call leaves the states as they were', async () => {
  const stream = await causal.openStream(states);
  await stream.run({ x: piece(0, 3) });
  // One row more than the states have: the graph can't join them.
  await assert.rejects(stream.run({ x: floats([1, 2, 1, 3, 2], new Float32Array(12)) }), NetworkError);
  assert.deepEqual(await stream.run({ x: piece(3, 4) }), causalAnswer(3, 4));
  await stream.close();
});

test('states that there is no memory for fail alone', async () => {
  const stream = await causal.openStream(states);
  const [first = [], ...others] = states;
  const huge = [[...first.slice(0, -2), 2 ** 22, 2 ** 22], ...others];
  await assert.rejects(causal.openStream(huge), (error: Error) => {
    assert.ok(error instanceof NetworkError);
    assert.match(error.message, /causal\.onnx ran out of memory: .* Make the frames or the tiles smaller\.$/);
    return true;
  });
  assert.deepEqual(await stream.run({ x: piece(0, 3) }), causalAnswer(0, 3));
  await stream.close();
});

test('a call cancelled while it waits leaves the stream whole, one cancelled while it runs ends it', async () => {
  const slow = await openSession(fixture('slow.onnx'), { device: 'cpu' });
  const stream = await causal.openStream(states);
  const controller = new AbortController();
  const busy = slow.run(slowFeeds(64, 20));
  const waiting = stream.run({ x: piece(0, 3) }, { signal: controller.signal });
  controller.abort();
  await assert.rejects(waiting, CancelledError);
  await busy;
  await slow.release();

  const second = new AbortController();
  const running = stream.run({ x: piece(0, 3) }, { signal: second.signal });
  second.abort();
  await assert.rejects(running, CancelledError);
  await assert.rejects(stream.run({ x: piece(3, 1) }), /was cancelled in the middle of a call\. Open a new one/);
  await stream.close();
});

test('a stream takes one call at a time, and none once closed', async () => {
  const stream = await causal.openStream(states);
  const first = stream.run({ x: piece(0, 2) });
  await assert.rejects(stream.run({ x: piece(2, 1) }), /one call at a time/);
  assert.deepEqual(await first, causalAnswer(0, 2));
  await stream.close();
  await stream.close();
  await assert.rejects(stream.run({ x: piece(2, 1) }), /was closed/);
});

test('closing waits for a running call, and a waiting one is never started', async () => {
  const slow = await openSession(fixture('slow.onnx'), { device: 'cpu' });
  const running = await causal.openStream(states);
  const waiting = await causal.openStream(states);
  const first = running.run({ x: piece(0, 2) });
  const busy = slow.run(slowFeeds(64, 20));
  const second = waiting.run({ x: piece(0, 2) });
  const refused = assert.rejects(second, /was closed\. Open a new one/);
  await Promise.all([running.close(), waiting.close(), busy, refused]);
  assert.deepEqual(await first, causalAnswer(0, 2));
  await slow.release();
});

test('states that the graph does not have are refused, and so is a run without a stream', async () => {
  const [first = []] = states;
  await assert.rejects(causal.openStream([first]), /Expected states of .*causal\.onnx to be 2, got 1/);
  await assert.rejects(causal.openStream([first, [1, 3, 1, 2, 2]]), /Expected shape of state_in_1/);
  await assert.rejects(causal.run({ x: whole }), /Open a stream/);
  const stream = await causal.openStream(states);
  const state = floats(first, new Float32Array(16));
  await assert.rejects(stream.run({ x: whole, state_in_0: state }), /was given state_in_0/);
  await stream.close();
});

test('a stream of a released session throws, and closes quietly', async () => {
  const session = await openSession(fixture('causal.onnx'), { device: 'cpu' });
  const stream = await session.openStream(states);
  await session.release();
  await assert.rejects(stream.run({ x: whole }), /was closed\. Load the model again/);
  await stream.close();
});
