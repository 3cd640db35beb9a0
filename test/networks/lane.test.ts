import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CancelledError } from '../../src/errors.js';
import { DeviceLane, laneOf } from '../../src/networks/lane.js';

/** A lane whose first task runs until `open` is called, and the names of the tasks in the order they started. */
function heldLane() {
  const lane = new DeviceLane();
  const started: string[] = [];
  let open = () => {};
  const gate = new Promise<void>((resolve) => {
    open = resolve;
  });
  const held = lane.run(async () => {
    started.push('held');
    await gate;
    return 'answer';
  });
  const add = (name: string, options: { priority?: number; signal?: AbortSignal } = {}) =>
    lane.run(async () => {
      started.push(name);
      return name;
    }, options);
  return { lane, started, open, held, add };
}

test('tasks run one at a time, by priority and then by age', async () => {
  const { started, open, held, add } = heldLane();
  const all = [add('a'), add('b', { priority: 5 }), add('c'), add('d', { priority: -1 }), add('e', { priority: 5 })];
  open();
  assert.deepEqual(await Promise.all([held, ...all]), ['answer', 'a', 'b', 'c', 'd', 'e']);
  assert.deepEqual(started, ['held', 'b', 'e', 'a', 'c', 'd']);
});

test('the next task waits for a running one whose signal fired, and the answer is dropped', async () => {
  const lane = new DeviceLane();
  const controller = new AbortController();
  const events: string[] = [];
  let open = () => {};
  const gate = new Promise<void>((resolve) => {
    open = resolve;
  });
  const running = lane.run(
    async () => {
      await gate;
      events.push('first ended');
      return 1;
    },
    { signal: controller.signal },
  );
  const dropped = assert.rejects(running, CancelledError).then(() => events.push('first dropped'));
  const next = lane.run(async () => events.push('second started'));
  controller.abort();
  await new Promise(setImmediate);
  assert.deepEqual(events, []);
  open();
  await Promise.all([dropped, next]);
  assert.equal(events[0], 'first ended');
  assert.deepEqual(events.toSorted(), ['first dropped', 'first ended', 'second started']);
});

test('a waiting task leaves at once and is never started', async () => {
  const { lane, started, open, held, add } = heldLane();
  const controller = new AbortController();
  const reason = new Error('enough');
  const waiting = add('waiting', { signal: controller.signal });
  const other = add('other');
  assert.equal(lane.waiting, 2);
  controller.abort(reason);
  await assert.rejects(waiting, (error) => error instanceof CancelledError && error.cause === reason);
  assert.equal(lane.waiting, 1);
  await assert.rejects(add('late', { signal: controller.signal }), CancelledError);
  open();
  await Promise.all([held, other]);
  assert.deepEqual(started, ['held', 'other']);
});

test('a failing task throws its own error and the lane goes on', async () => {
  const lane = new DeviceLane();
  const failure = new Error('broken');
  await assert.rejects(
    lane.run(async () => {
      throw failure;
    }),
    (error) => error === failure,
  );
  assert.equal(await lane.run(async () => 3), 3);
});

test('no listener stays on the signal', async () => {
  const lane = new DeviceLane();
  const { signal } = new AbortController();
  const added: unknown[] = [];
  const removed: unknown[] = [];
  const watched = new Proxy(signal, {
    get(target, key) {
      if (key === 'addEventListener' || key === 'removeEventListener') {
        return (type: string, listener: () => void) => {
          (key === 'addEventListener' ? added : removed).push(listener);
          target[key](type, listener);
        };
      }
      return Reflect.get(target, key, target);
    },
  });
  await lane.run(async () => {}, { signal: watched });
  assert.equal(added.length, 1);
  assert.deepEqual(removed, added);
});

test('each device has one lane', () => {
  assert.equal(laneOf('cpu'), laneOf('cpu'));
  assert.notEqual(laneOf('cpu'), laneOf('webgpu'));
});
