// The worker thread that holds the networks of a device: onnxruntime-node blocks the thread that it is called from.
import { parentPort } from 'node:worker_threads';
import { type InferenceSession, Tensor } from 'onnxruntime-node';
import { sizeOf } from '../tensor/tensor.js';
import { CallError, createOrtSession, describeTensors, ortMessage, runFailure } from './ort-session.js';
import type { GraphInfo, NetworkTensor } from './session.js';
import {
  isStateName,
  type NamedTensors,
  type SessionSpec,
  stateInput,
  stateOutput,
  type WorkerCall,
  type WorkerCalls,
  type WorkerReply,
  type WorkerRequest,
} from './worker-protocol.js';

if (parentPort === null) throw new Error('session-worker runs in a worker thread only');
const port = parentPort;

interface OpenGraph {
  readonly path: string;
  readonly ort: InferenceSession;
}

interface OpenSession extends OpenGraph {
  /** Runs the first call of every stream. */
  readonly first: OpenGraph | undefined;
  readonly onGpu: boolean;
}

interface OpenStream {
  readonly session: OpenSession;
  /** What the next call is fed. */
  states: Tensor[];
  /** On the CPU: where the next call writes its states, so that a long clip allocates none. */
  spare: Tensor[];
  hasRun: boolean;
}

const sessions = new Map<number, OpenSession>();
const streams = new Map<number, OpenStream>();
let lastId = 0;

function found<T>(map: ReadonlyMap<number, T>, id: number): T {
  const value = map.get(id);
  if (value === undefined) throw new CallError('run', `Expected ${id} to be an open network or stream.`);
  return value;
}

const handlers: { [K in WorkerCall]: (request: WorkerCalls[K]['request']) => Promise<WorkerCalls[K]['reply']> } = {
  async open(spec) {
    const graph = await openGraph(spec, spec.path);
    let first: OpenGraph | undefined;
    try {
      if (spec.firstPath !== undefined) first = await openGraph({ ...spec, changes: [] }, spec.firstPath);
    } catch (error) {
      await graph.ort.release();
      throw error;
    }
    const id = ++lastId;
    sessions.set(id, { ...graph, first, onGpu: spec.device === 'webgpu' });
    return { session: id, graph: describe(graph), first: first === undefined ? undefined : describe(first) };
  },

  async run({ session: id, stream: streamId, feeds }) {
    const session = found(sessions, id);
    const stream = streamId === undefined ? undefined : found(streams, streamId);
    const inputs: Record<string, Tensor> = {};
    for (const [name, { type, data, shape }] of Object.entries(feeds)) {
      inputs[name] = type === 'float32' ? new Tensor(type, data, shape) : new Tensor(type, data, shape);
    }
    const graph = stream === undefined ? session : nextGraph(stream);
    try {
      return answers(await (stream === undefined ? session.ort.run(inputs) : runStream(stream, inputs)));
    } catch (error) {
      throw new CallError('run', runFailure(graph.path, error));
    }
  },

  async openStream({ session: id, stateShapes }) {
    const session = found(sessions, id);
    const streamId = ++lastId;
    const zeros = () => stateShapes.map((shape) => new Tensor('float32', new Float32Array(sizeOf(shape)), shape));
    try {
      streams.set(streamId, { session, states: zeros(), spare: session.onGpu ? [] : zeros(), hasRun: false });
    } catch (error) {
      throw new CallError('run', runFailure(session.path, error));
    }
    return streamId;
  },

  async closeStream({ stream }) {
    disposeAll(found(streams, stream).states);
    streams.delete(stream);
    return undefined;
  },

  async release({ session: id }) {
    const session = found(sessions, id);
    for (const [streamId, stream] of streams) {
      if (stream.session !== session) continue;
      disposeAll(stream.states);
      streams.delete(streamId);
    }
    sessions.delete(id);
    await session.first?.ort.release();
    await session.ort.release();
    return undefined;
  },
};

async function openGraph(spec: SessionSpec, path: string): Promise<OpenGraph> {
  return { path, ort: await createOrtSession({ ...spec, path }) };
}

function describe({ ort }: OpenGraph): GraphInfo {
  return { inputs: describeTensors(ort.inputMetadata), outputs: describeTensors(ort.outputMetadata) };
}

/** Returns the graph that a stream's next call runs. */
function nextGraph({ session, hasRun }: OpenStream): OpenGraph {
  return hasRun ? session : (session.first ?? session);
}

async function runStream(stream: OpenStream, feeds: Record<string, Tensor>): Promise<InferenceSession.ReturnType> {
  const graph = nextGraph(stream);
  const { ort } = graph;
  if (graph !== stream.session.first) {
    for (const [index, state] of stream.states.entries()) feeds[stateInput(index)] = state;
  }
  if (stream.session.onGpu) {
    // The session was opened with its state outputs kept on the device; a failed call leaves the states as they were.
    const results = await ort.run(feeds);
    const next = stream.states.map((_, index) => results[stateOutput(index)] as Tensor);
    disposeAll(stream.states);
    stream.states = next;
    stream.hasRun = true;
    return results;
  }
  const fetches: Record<string, Tensor | null> = {};
  for (const name of ort.outputNames) fetches[name] = null;
  for (const [index, state] of stream.spare.entries()) fetches[stateOutput(index)] = state;
  const results = await ort.run(feeds, fetches);
  [stream.states, stream.spare] = [stream.spare, stream.states];
  stream.hasRun = true;
  return results;
}

function disposeAll(tensors: readonly Tensor[]): void {
  for (const tensor of tensors) tensor.dispose();
}

function answers(results: InferenceSession.ReturnType): NamedTensors {
  const named: Record<string, NetworkTensor> = {};
  for (const [name, tensor] of Object.entries(results)) {
    if (isStateName(name)) continue;
    const { data, dims } = tensor as Tensor;
    if (data instanceof Float32Array) named[name] = { type: 'float32', data, shape: dims };
    else if (data instanceof BigInt64Array) named[name] = { type: 'int64', data, shape: dims };
    else throw new Error(`output ${name} is ${tensor.type}`);
  }
  return named;
}

async function answer(message: WorkerRequest): Promise<void> {
  if (message.kind === 'end') return port.close();
  const handler = handlers[message.kind] as (request: unknown) => Promise<WorkerCalls[WorkerCall]['reply']>;
  let reply: WorkerReply;
  try {
    reply = { id: message.id, value: await handler(message.request) };
  } catch (error) {
    // Whatever it is, it must not end the thread, and with it all other networks.
    const { fault, message: text } = error instanceof CallError ? error : new CallError('run', ortMessage(error));
    reply = { id: message.id, fault, message: text };
  }
  const given = 'value' in reply && message.kind === 'run' ? Object.values(reply.value as NamedTensors) : [];
  port.postMessage(reply, [...new Set(given.map(({ data }) => data.buffer as ArrayBuffer))]);
}

// One call at a time and in order: a release waits for the run before it.
let tail: Promise<void> = Promise.resolve();
port.on('message', (message: WorkerRequest) => {
  tail = tail.then(() => answer(message));
});
