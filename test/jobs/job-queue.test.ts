import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { InvalidOptionError, JobError } from '../../src/errors.js';
import type { JobRecord } from '../../src/jobs/job.js';
import { type JobContext, JobQueue } from '../../src/jobs/job-queue.js';

/** A run that ends when its job's gate is opened, or when it is cancelled. */
function gated() {
  const gates = new Map<string, EventTarget>();
  const started: string[] = [];
  const gate = (name: string) => {
    const found = gates.get(name) ?? new EventTarget();
    gates.set(name, found);
    return found;
  };
  const nameOf = (job: JobRecord) => String(job.options.name);
  return {
    started,
    open: (name: string) => gate(name).dispatchEvent(new Event('open')),
    run: async (job: JobRecord, { signal }: JobContext): Promise<string> => {
      started.push(nameOf(job));
      await once(gate(nameOf(job)), 'open', { signal });
      return `made ${nameOf(job)}`;
    },
  };
}

const request = (name: string, priority?: number) => ({ pipeline: 'generate', options: { name }, priority });

async function untilState<Result>(queue: JobQueue<Result>, id: string, state: string): Promise<void> {
  const events = queue.events();
  if (queue.get(id).state === state) return void (await events.return?.());
  for await (const record of events) if (record.id === id && record.state === state) return;
}

test('a job is queued, runs, and is completed with its result', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'reelspace-jobs-'));
  try {
    const queue = new JobQueue(async (job, { onProgress }) => {
      const path = join(folder, String(job.options.name));
      await writeFile(path, job.pipeline);
      onProgress({ stage: 'write', done: 1, total: 1 });
      return path;
    });
    const events = queue.events();
    const options = { name: 'a.txt' };
    const submitted = queue.submit({ pipeline: 'restyle', options });
    options.name = 'changed after it was submitted';
    const ended = await queue.wait(submitted.id);
    assert.equal(submitted.state, 'queued');
    assert.equal(ended.state, 'completed');
    assert.deepEqual(ended.options, { name: 'a.txt' });
    assert.deepEqual(ended.progress, { stage: 'write', done: 1, total: 1 });
    assert.equal(await readFile(ended.result as string, 'utf8'), 'restyle');
    assert.ok(ended.submittedAt <= (ended.startedAt ?? '') && (ended.startedAt ?? '~') <= (ended.endedAt ?? ''));
    await queue.close();
    const states: string[] = [];
    for await (const { state, progress } of events) states.push(progress === undefined ? state : `${state}+`);
    assert.deepEqual(states, ['queued', 'running+', 'completed+']);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('higher priority starts first, the oldest first among equals', async () => {
  const { started, open, run } = gated();
  const queue = new JobQueue(run);
  const first = queue.submit(request('first'));
  await untilState(queue, first.id, 'running');
  const rest = [request('low', -1), request('b'), request('c'), request('urgent', 5)].map((job) => queue.submit(job));
  for (const name of ['first', 'urgent', 'b', 'c', 'low']) {
    const job = [first, ...rest].find(({ options }) => options.name === name) as JobRecord;
    await untilState(queue, job.id, 'running');
    open(name);
    assert.equal((await queue.wait(job.id)).result, `made ${name}`);
  }
  assert.deepEqual(started, ['first', 'urgent', 'b', 'c', 'low']);
});

test('as many jobs run at once as asked, and no more', async () => {
  const { started, open, run } = gated();
  const queue = new JobQueue(run, { concurrency: 2 });
  const jobs = ['a', 'b', 'c'].map((name) => queue.submit(request(name)));
  await Promise.all(jobs.slice(0, 2).map(({ id }) => untilState(queue, id, 'running')));
  assert.deepEqual(started, ['a', 'b']);
  assert.deepEqual(
    queue.list().map(({ state }) => state),
    ['running', 'running', 'queued'],
  );
  open('b');
  await untilState(queue, (jobs[2] as JobRecord).id, 'running');
  open('a');
  open('c');
  for (const { id } of jobs) assert.equal((await queue.wait(id)).state, 'completed');
});

test('a queued job that is cancelled never starts; a running one is told to stop', async () => {
  const { started, run } = gated();
  const queue = new JobQueue(run);
  const running = queue.submit(request('running'));
  const queued = queue.submit(request('queued'));
  await untilState(queue, running.id, 'running');
  assert.equal((await queue.cancel(queued.id)).state, 'cancelled');
  const stopped = await queue.cancel(running.id);
  assert.equal(stopped.state, 'cancelled');
  assert.equal(stopped.error, undefined);
  assert.notEqual(stopped.endedAt, undefined);
  await assert.rejects(queue.cancel(running.id), JobError);
  await queue.close();
  assert.deepEqual(started, ['running']);
});

test('a failure is kept with its code, and the next job runs', async () => {
  const queue = new JobQueue(async ({ options }) => {
    if (options.name === 'bad')
      throw new InvalidOptionError('Expected steps to be at least 1, got 0.', { hint: 'More.' });
    if (options.name === 'odd') throw new TypeError('undefined is not a function');
    return 'made';
  });
  const [bad, odd, good] = ['bad', 'odd', 'good'].map((name) => queue.submit(request(name)).id) as [
    string,
    string,
    string,
  ];
  assert.deepEqual((await queue.wait(bad)).error, {
    code: 'INVALID_OPTION',
    message: 'Expected steps to be at least 1, got 0.',
    hint: 'More.',
  });
  assert.deepEqual((await queue.wait(odd)).error, {
    code: 'UNEXPECTED',
    message: 'undefined is not a function',
    hint: undefined,
  });
  assert.equal((await queue.wait(good)).state, 'completed');
  assert.deepEqual(
    queue.list().map(({ state }) => state),
    ['failed', 'failed', 'completed'],
  );
});

test('a run that completes although it was cancelled is completed', async () => {
  const { open, run } = gated();
  const queue = new JobQueue((job) => run(job, { signal: new AbortController().signal, onProgress: () => {} }));
  const { id } = queue.submit(request('stubborn'));
  await untilState(queue, id, 'running');
  const cancelled = queue.cancel(id);
  open('stubborn');
  assert.equal((await cancelled).state, 'completed');
});

test('a full queue refuses, and takes again when a place is free', async () => {
  const { run } = gated();
  const queue = new JobQueue(run, { maxQueued: 1 });
  const running = queue.submit(request('running'));
  await untilState(queue, running.id, 'running');
  const waiting = queue.submit(request('waiting'));
  assert.throws(() => queue.submit(request('refused')), JobError);
  await queue.cancel(waiting.id);
  const next = queue.submit(request('next'));
  assert.equal(queue.get(next.id).state, 'queued');
  await queue.close();
  assert.equal(queue.get(next.id).state, 'cancelled');
  assert.throws(() => queue.submit(request('late')), JobError);
});

test('a job is removed only when it has ended; unknown ids are errors', async () => {
  const { open, run } = gated();
  const queue = new JobQueue(run);
  const { id } = queue.submit(request('a'));
  await untilState(queue, id, 'running');
  assert.throws(() => queue.remove(id), JobError);
  open('a');
  await queue.wait(id);
  queue.remove(id);
  assert.deepEqual(queue.list(), []);
  assert.throws(() => queue.get(id), JobError);
  await assert.rejects(queue.wait(id), JobError);
  await assert.rejects(queue.cancel('no such job'), JobError);
});

test('a slow listener sees every state, and the newest progress', async () => {
  const queue = new JobQueue(async (_, { onProgress }) => {
    for (let done = 1; done <= 100; done++) onProgress({ stage: 'denoise', done, total: 100 });
  });
  const events = queue.events();
  const ids = [queue.submit(request('a')).id, queue.submit(request('b')).id];
  await Promise.all(ids.map((id) => queue.wait(id)));
  await queue.close();
  const seen = new Map<string, string[]>(ids.map((id) => [id, []]));
  for await (const { id, state, progress } of events) seen.get(id)?.push(`${state} ${progress?.done ?? 0}`);
  assert.deepEqual([...seen.values()], Array(2).fill(['queued 0', 'running 100', 'completed 100']));
});

test('progress of jobs that run at once does not pile up before a slow listener', async () => {
  const queue = new JobQueue(
    async (_, { onProgress }) => {
      for (let done = 1; done <= 100; done++) {
        onProgress({ stage: 'denoise', done, total: 100 });
        await nextTurn();
      }
    },
    { concurrency: 2 },
  );
  const events = queue.events();
  await Promise.all(['a', 'b'].map((name) => queue.wait(queue.submit(request(name)).id)));
  await queue.close();
  let seen = 0;
  for await (const _ of events) seen++;
  assert.equal(seen, 6);
});

test('whoever asks for the next record before there is one gets it, in the order of asking', async () => {
  const queue = new JobQueue(async () => {});
  const events = queue.events();
  const asked = [events.next(), events.next(), events.next(), events.next()];
  await queue.wait(queue.submit(request('a')).id);
  await queue.close();
  const states = (await Promise.all(asked)).map(({ value, done }) => (done === true ? 'end' : value.state));
  assert.deepEqual(states, ['queued', 'running', 'completed', 'end']);
});
