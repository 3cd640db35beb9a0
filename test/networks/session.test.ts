import assert from 'node:assert/strict';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { after, before, test } from 'node:test';
import { BundleError, CancelledError, NetworkError } from '../../src/errors.js';
import { laneOf } from '../../src/networks/lane.js';
import { openSession } from '../../src/networks/open-session.js';
import type { NetworkSession } from '../../src/networks/session.js';
import { joinHost, leaveHost } from '../../src/networks/worker-host.js';
import { counting, fixture, floats, ints, slowFeeds } from './fixtures.js';

const open = (name: string) => openSession(fixture(name), { device: 'cpu' });

let affine: NetworkSession;
before(async () => {
  affine = await open('affine.onnx');
});
after(() => affine.release());

test('a session tells its inputs and outputs', () => {
  assert.deepEqual(affine.inputs, [
    { name: 'x', type: 'float32', shape: ['n', 3] },
    { name: 'i', type: 'int64', shape: ['m'] },
  ]);
  assert.deepEqual(affine.outputs, [
    { name: 'y', type: 'float32', shape: ['n', 3] },
    { name: 'j', type: 'int64', shape: ['m'] },
  ]);
});

test('a run returns every output with its type and shape', async () => {
  const big = 2n ** 60n;
  const result = await affine.run({
    x: floats([2, 3], [0, 1, 2, 3, 4, -5.5]),
    i: { type: 'int64', shape: [2], data: BigInt64Array.of(-1n, big) },
  });
  assert.deepEqual(result, {
    y: floats([2, 3], [1, 3, 5, 7, 9, -10]),
    j: { type: 'int64', shape: [2], data: BigInt64Array.of(0n, big + 1n) },
  });
});

test('weights of four bits are multiplied with', async () => {
  const packed = await open('packed.onnx');
  const x = Array.from({ length: 32 }, (_, index) => index - 3);
  const { y } = await packed.run({ x: floats([1, 32], x) });
  await packed.release();
  const sum = (32 * 31) / 2 - 3 * 32;
  assert.deepEqual(y, floats([1, 4], [sum, sum, sum, sum]));
});

test('an empty batch and other lengths of a dynamic axis run', async () => {
  const result = await affine.run({ x: floats([0, 3], []), i: ints([1], [4]) });
  assert.deepEqual(result, { y: floats([0, 3], []), j: ints([1], [5]) });
});

test('feeds are copied unless they are given away', async () => {
  const kept = floats([1, 3], [1, 2, 3]);
  await affine.run({ x: kept, i: ints([1], [0]) });
  assert.deepEqual(kept, floats([1, 3], [1, 2, 3]));

  const given = floats([1, 3], [1, 2, 3]);
  const result = await affine.run({ x: given, i: ints([1], [0]) }, { transfer: true });
  assert.deepEqual(result.y, floats([1, 3], [3, 5, 7]));
  assert.equal(given.data.length, 0);
});

test('a feed that is a view of a larger buffer is read at its place', async () => {
  const buffer = counting(9);
  const x = { type: 'float32', shape: [1, 3], data: buffer.subarray(3, 6) } as const;
  const result = await affine.run({ x, i: ints([1], [0]) });
  assert.deepEqual(result.y, floats([1, 3], [9, 11, 13]));
  assert.deepEqual(buffer, counting(9));
});

test('a feed of many millions of numbers arrives whole', async () => {
  const x = counting(3 * 2 ** 20);
  const result = await affine.run({ x: floats([2 ** 20, 3], x), i: ints([1], [0]) });
  assert.deepEqual(
    result.y?.data,
    x.map((value) => 2 * value + 1),
  );
});

test('feeds that the graph can not take are named', async () => {
  const x = floats([1, 3], [1, 2, 3]);
  const i = ints([1], [0]);
  const rejects = (feeds: Record<string, typeof x>, message: RegExp) =>
    assert.rejects(affine.run(feeds), (error) => error instanceof NetworkError && message.test(error.message));
  await rejects({ x }, /not given its inputs i\./);
  await rejects({ x, i, z: x }, /was given z, which/);
  await rejects({ x, i: floats([1], [0]) }, /Expected type of i to be int64, got "float32"/);
  await rejects({ x: floats([1, 4], [1, 2, 3, 4]), i }, /Expected shape of x to be \[n, 3\], got \[1, 4\]/);
  await rejects({ x: floats([3], [1, 2, 3]), i }, /Expected shape of x/);
  await rejects({ x: floats([2, 3], [1, 2, 3]), i }, /Expected length of x to be 6/);
});

test('the event loop turns while a network runs', async () => {
  const slow = await open('slow.onnx');
  // Long enough to tell, on a fast machine too: an eighth of it is 50 ms, the longest that the loop should be held.
  let run = await watchLoop(() => slow.run(slowFeeds(256, 200)));
  let turns = 200;
  while (run.elapsedMs < 400) {
    turns *= 2;
    run = await watchLoop(() => slow.run(slowFeeds(256, turns)));
  }
  // On a busy machine this thread may be kept waiting by others; a network that holds it does so every time.
  for (let tries = 1; tries < 6 && isHeld(run); tries++) run = await watchLoop(() => slow.run(slowFeeds(256, turns)));
  await slow.release();
  const row = run.result.y?.data as Float32Array;
  assert.ok(Math.abs(row.subarray(0, 256).reduce((sum, share) => sum + share, 0) - 1) < 1e-4);
  // A held loop would give one tick and one gap as long as the run.
  assert.ok(!isHeld(run), `held for ${run.longestGapMs} of ${run.elapsedMs} ms, ${run.ticks} ticks`);
});

function isHeld({
  elapsedMs,
  longestGapMs,
  ticks,
}: {
  elapsedMs: number;
  longestGapMs: number;
  ticks: number;
}): boolean {
  return longestGapMs >= elapsedMs / 8 || ticks <= elapsedMs / 50;
}

/** Runs something and watches this thread's event loop meanwhile. */
async function watchLoop<T>(work: () => Promise<T>) {
  const delay = monitorEventLoopDelay({ resolution: 5 });
  let ticks = 0;
  const ticking = setInterval(() => ticks++, 5);
  delay.enable();
  const start = performance.now();
  const result = await work();
  const elapsedMs = performance.now() - start;
  delay.disable();
  clearInterval(ticking);
  return { result, elapsedMs, longestGapMs: delay.max / 1e6, ticks };
}

test('a failed run throws and the session goes on', async () => {
  const session = await open('reshape.onnx');
  await assert.rejects(session.run({ x: floats([5], counting(5)) }), (error) => {
    assert.ok(error instanceof NetworkError);
    assert.match(error.message, /reshape\.onnx failed: .*Reshape/);
    assert.doesNotMatch(error.message, /onnxruntime_src|\n/);
    return true;
  });
  assert.deepEqual((await session.run({ x: floats([6], counting(6)) })).y, floats([2, 3], counting(6)));
  await session.release();
});

test('a run that needs more memory than there is says so', async () => {
  const large = await open('large.onnx');
  await assert.rejects(large.run({ x: floats([], [7]), n: ints([1], [2 ** 20]) }), (error) => {
    assert.ok(error instanceof NetworkError);
    assert.match(
      error.message,
      /large\.onnx ran out of memory: ConstantOfShape: .*size 4398046511104\. Make the frames/,
    );
    return true;
  });
  assert.deepEqual((await large.run({ x: floats([], [7]), n: ints([1], [2]) })).y, floats([], [7]));
  await large.release();
});

test('a cancelled call leaves the queue at once, a running one is waited for', async () => {
  const slow = await open('slow.onnx');
  const order: string[] = [];
  const first = new AbortController();
  const second = new AbortController();
  const running = slow.run(slowFeeds(128, 400), { signal: first.signal });
  const waiting = slow.run(slowFeeds(128, 1), { signal: second.signal });
  const running_ = assert.rejects(running, CancelledError).then(() => order.push('running'));
  const waiting_ = assert.rejects(waiting, CancelledError).then(() => order.push('waiting'));
  first.abort();
  second.abort();
  const next = slow.run(slowFeeds(8, 1)).then(() => order.push('next'));
  await Promise.all([running_, waiting_, next]);
  assert.deepEqual(order, ['waiting', 'running', 'next']);
  assert.equal(laneOf('cpu').waiting, 0);
  await assert.rejects(slow.run(slowFeeds(8, 1), { signal: first.signal }), CancelledError);
  await slow.release();
});

test('calls after release throw, and release waits for the call before it', async () => {
  const slow = await open('slow.onnx');
  const running = slow.run(slowFeeds(64, 50));
  await slow.release();
  assert.deepEqual((await running).y?.shape, [64, 64]);
  await slow.release();
  await assert.rejects(slow.run(slowFeeds(8, 1)), /was closed/);
});

test('release gives the memory back', async () => {
  const rssMiB = () => process.memoryUsage.rss() / 2 ** 20;
  const large = await open('large.onnx');
  const before = rssMiB();
  await large.run({ x: floats([], [7]), n: ints([1], [5120]) });
  const held = rssMiB() - before;
  await large.release();
  const left = rssMiB() - before;
  assert.ok(held > 80, `the graph was to hold 100 MiB, held ${held}`);
  assert.ok(left < held / 4, `${left} of ${held} MiB were left`);
});

test('a file that is no network, or one of other types, is named', async () => {
  const garbage = fixture('../../networks/fixtures.ts');
  await assert.rejects(openSession(garbage, { device: 'cpu' }), (error) => {
    assert.ok(error instanceof BundleError);
    assert.match(error.message, /fixtures\.ts to be an ONNX model/);
    return true;
  });
  await assert.rejects(open('absent.onnx'), (error) => error instanceof BundleError && /absent/.test(error.message));
  await assert.rejects(open('half.onnx'), (error) => {
    assert.ok(error instanceof BundleError);
    assert.match(error.message, /Expected x of .*half\.onnx to be float32 or int64, got float16/);
    return true;
  });
});

test('when the worker ends, its calls and later ones throw, and a new session works', async () => {
  const slow = await open('slow.onnx');
  const host = joinHost('cpu');
  const running = slow.run(slowFeeds(128, 200));
  const failed = assert.rejects(running, (error) => error instanceof NetworkError && /ended/.test(error.message));
  await host.terminate();
  await failed;
  leaveHost('cpu', host);
  await assert.rejects(slow.run(slowFeeds(8, 1)), NetworkError);
  const feeds = { x: floats([1, 3], [1, 2, 3]), i: ints([1], [0]) };
  await assert.rejects(affine.run(feeds), NetworkError);

  const again = await open('affine.onnx');
  assert.deepEqual((await again.run(feeds)).y, floats([1, 3], [3, 5, 7]));
  await Promise.all([slow.release(), affine.release()]);
  assert.deepEqual((await again.run(feeds)).y, floats([1, 3], [3, 5, 7]));
  affine = again;
});
