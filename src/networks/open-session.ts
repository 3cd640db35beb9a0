// Opens networks: each lives in the worker of its device and takes its turn in the device's lane.
import { setImmediate as nextTurn } from 'node:timers/promises';
import { expected, NetworkError } from '../errors.js';
import { sizeOf } from '../tensor/tensor.js';
import type { WeightChange } from './change-weights.js';
import { laneOf } from './lane.js';
import type { Device } from './model.js';
import type { GraphInfo, NetworkSession, NetworkStream, NetworkTensor, RunOptions, TensorInfo } from './session.js';
import { joinHost, leaveHost, type WorkerHost } from './worker-host.js';
import { isStateName, type NamedTensors, stateInput, type WorkerCalls } from './worker-protocol.js';

/** Where and how a network runs. */
export interface SessionOptions {
  readonly device: Device;
  /** The graph for the first call of every stream, where that is another one. */
  readonly firstPath?: string | undefined;
  /** CPU threads for one network. Default: one for each physical core. */
  readonly threads?: number | undefined;
  /** What is added to weights; the buffers are given away. */
  readonly changes?: readonly WeightChange[] | undefined;
}

/**
 * Returns the network of an ONNX file, loaded. Throws BundleError when the file is no network that can be run, and
 * DeviceError when the device can't be used.
 */
export async function openSession(
  path: string,
  { device, firstPath, threads, changes = [] }: SessionOptions,
): Promise<NetworkSession> {
  const host = joinHost(device);
  try {
    const spec = { path, firstPath, device, threads, changes };
    return new WorkerSession(path, device, host, await host.call('open', spec, buffersOf(changes)));
  } catch (error) {
    leaveHost(device, host);
    throw error;
  }
}

function buffersOf(changes: readonly WeightChange[]): ArrayBuffer[] {
  const arrays = changes.flatMap(({ terms }) =>
    terms.flatMap((term) => ('values' in term ? [term.values] : [term.up, term.down])),
  );
  return [...new Set(arrays.map(({ buffer }) => buffer as ArrayBuffer))];
}

class WorkerSession implements NetworkSession {
  readonly inputs: readonly TensorInfo[];
  readonly outputs: readonly TensorInfo[];
  readonly first: GraphInfo | undefined;
  readonly #path: string;
  readonly #device: Device;
  readonly #host: WorkerHost;
  readonly #session: number;
  #released = false;
  /** Settles when the call that has its turn is over. */
  #running: Promise<unknown> = Promise.resolve();

  constructor(path: string, device: Device, host: WorkerHost, opened: WorkerCalls['open']['reply']) {
    this.#path = path;
    this.#device = device;
    this.#host = host;
    this.#session = opened.session;
    this.inputs = opened.graph.inputs;
    this.outputs = opened.graph.outputs;
    this.first = opened.first;
  }

  async run(feeds: NamedTensors, options: RunOptions = {}): Promise<Record<string, NetworkTensor>> {
    if (this.#stateInputs().length > 0) {
      throw new NetworkError(`${this.#path} hands states from one call to the next. Open a stream to run it.`);
    }
    return this.#inTurn(options, () => this.#send(undefined, this.inputs, feeds, options));
  }

  async openStream(stateShapes: readonly (readonly number[])[]): Promise<NetworkStream> {
    this.#assertOpen();
    const states = this.#stateInputs();
    if (states.length !== stateShapes.length) {
      throw new NetworkError(expected(`states of ${this.#path}`, `${states.length}`, stateShapes.length));
    }
    for (const [index, shape] of stateShapes.entries()) {
      const info = states.find(({ name }) => name === stateInput(index));
      if (info === undefined) throw new NetworkError(`${this.#path} has no input ${stateInput(index)}.`);
      assertShape(info, shape);
    }
    const stream = await this.#host.call('openStream', { session: this.#session, stateShapes });
    let { inputs } = this.first ?? this;
    return new WorkerStream(
      this.#path,
      (feeds, options, { onTurn, onAnswer }) =>
        this.#inTurn(options, async () => {
          onTurn();
          const answer = await this.#send(stream, inputs, feeds, options);
          inputs = this.inputs;
          onAnswer();
          return answer;
        }),
      async () => {
        await this.#running;
        if (!this.#released && !this.#host.isDead) await this.#host.call('closeStream', { stream });
      },
    );
  }

  async release(): Promise<void> {
    if (this.#released) return;
    this.#released = true;
    try {
      await this.#running;
      if (!this.#host.isDead) await this.#host.call('release', { session: this.#session });
    } finally {
      leaveHost(this.#device, this.#host);
    }
  }

  #stateInputs(): readonly TensorInfo[] {
    return this.inputs.filter(({ name }) => isStateName(name));
  }

  #assertOpen(): void {
    if (this.#released) throw new NetworkError(`${this.#path} was closed. Load the model again.`);
  }

  async #inTurn<T>(options: RunOptions, call: () => Promise<T>): Promise<T> {
    this.#assertOpen();
    return laneOf(this.#device).run(() => {
      // It may have been closed while the call waited.
      this.#assertOpen();
      const running = call();
      this.#running = running.catch(() => {});
      return running;
    }, options);
  }

  async #send(
    stream: number | undefined,
    inputs: readonly TensorInfo[],
    feeds: NamedTensors,
    { transfer }: RunOptions,
  ): Promise<NamedTensors> {
    assertFeeds(
      this.#path,
      inputs.filter(({ name }) => !isStateName(name)),
      feeds,
    );
    // A view is cloned with the whole buffer behind it, so the copy is made here and the copy is given away.
    const sent = transfer === true ? feeds : await copied(feeds);
    const buffers = new Set(Object.values(sent).map(({ data }) => data.buffer as ArrayBuffer));
    return this.#host.call('run', { session: this.#session, stream, feeds: sent }, [...buffers]);
  }
}

/** A call of a stream; `onTurn` is called when it starts, and `onAnswer` when the states have moved on. */
type StreamCall = (
  feeds: NamedTensors,
  options: RunOptions,
  on: { onTurn: () => void; onAnswer: () => void },
) => Promise<NamedTensors>;

class WorkerStream implements NetworkStream {
  readonly #path: string;
  readonly #call: StreamCall;
  readonly #free: () => Promise<void>;
  #running = false;
  #ended: string | undefined;

  constructor(path: string, call: StreamCall, free: () => Promise<void>) {
    this.#path = path;
    this.#call = call;
    this.#free = free;
  }

  async run(feeds: NamedTensors, options: RunOptions = {}): Promise<Record<string, NetworkTensor>> {
    this.#assertOpen();
    if (this.#running) throw new NetworkError(`A stream of ${this.#path} takes one call at a time. Await each call.`);
    this.#running = true;
    let isAnswered = false;
    const onAnswer = () => {
      isAnswered = true;
    };
    try {
      return await this.#call(feeds, options, { onTurn: () => this.#assertOpen(), onAnswer });
    } catch (error) {
      // The states have moved on, past an answer that nobody got.
      if (isAnswered) this.#ended ??= 'was cancelled in the middle of a call';
      throw error;
    } finally {
      this.#running = false;
    }
  }

  async close(): Promise<void> {
    if (this.#ended === 'was closed') return;
    this.#ended = 'was closed';
    await this.#free();
  }

  #assertOpen(): void {
    if (this.#ended !== undefined)
      throw new NetworkError(`The stream of ${this.#path} ${this.#ended}. Open a new one.`);
  }
}

/** Copied at a time: a large feed must not hold the event loop for the whole of its copy. */
const copyElements = 2 ** 20;

async function copied(feeds: NamedTensors): Promise<NamedTensors> {
  const copies: Record<string, NetworkTensor> = {};
  for (const [name, { type, data, shape }] of Object.entries(feeds)) {
    if (type === 'int64') {
      copies[name] = { type, shape, data: data.slice() };
      continue;
    }
    const copy = new Float32Array(data.length);
    for (let start = 0; start < data.length; start += copyElements) {
      if (start > 0) await nextTurn();
      copy.set(data.subarray(start, start + copyElements), start);
    }
    copies[name] = { type, shape, data: copy };
  }
  return copies;
}

function assertFeeds(path: string, inputs: readonly TensorInfo[], feeds: NamedTensors): void {
  const missing = inputs.filter(({ name }) => feeds[name] === undefined).map(({ name }) => name);
  if (missing.length > 0) throw new NetworkError(`${path} was not given its inputs ${missing.join(', ')}.`);
  const surplus = Object.keys(feeds).filter((name) => !inputs.some((input) => input.name === name));
  if (surplus.length > 0) throw new NetworkError(`${path} was given ${surplus.join(', ')}, which it has no input for.`);
  for (const info of inputs) {
    const { type, data, shape } = feeds[info.name] as NetworkTensor;
    if (type !== info.type) throw new NetworkError(expected(`type of ${info.name}`, info.type, type));
    assertShape(info, shape);
    if (data.length !== sizeOf(shape)) {
      throw new NetworkError(expected(`length of ${info.name}`, `${sizeOf(shape)} for its shape`, data.length));
    }
  }
}

function assertShape({ name, shape: wanted }: TensorInfo, shape: readonly number[]): void {
  const fits =
    shape.length === wanted.length &&
    shape.every((length, index) => {
      const rule = wanted[index];
      return Number.isInteger(length) && length >= 0 && (typeof rule !== 'number' || rule === length);
    });
  if (!fits) throw new NetworkError(expected(`shape of ${name}`, `[${wanted.join(', ')}]`, [...shape]));
}
