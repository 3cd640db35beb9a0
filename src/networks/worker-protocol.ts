// What the main thread and a network worker say to each other.
import type { WeightChange } from './change-weights.js';
import type { Device } from './model.js';
import type { GraphInfo, NetworkTensor } from './session.js';

/** Tensors by the names of a graph's inputs or outputs. */
export type NamedTensors = Readonly<Record<string, NetworkTensor>>;

/** What a session is opened with. */
export interface SessionSpec {
  readonly path: string;
  /** The graph for the first call of every stream, or undefined when it is the same. */
  readonly firstPath: string | undefined;
  readonly device: Device;
  /** Threads for one network, or undefined for as many as there are physical cores. */
  readonly threads: number | undefined;
  /** What is added to weights of the graph at `path`. */
  readonly changes: readonly WeightChange[];
}

/** Every call of a worker: what is sent, and what comes back. */
export interface WorkerCalls {
  open: {
    request: SessionSpec;
    reply: { session: number; graph: GraphInfo; first: GraphInfo | undefined };
  };
  run: { request: { session: number; stream: number | undefined; feeds: NamedTensors }; reply: NamedTensors };
  openStream: { request: { session: number; stateShapes: readonly (readonly number[])[] }; reply: number };
  closeStream: { request: { stream: number }; reply: undefined };
  release: { request: { session: number }; reply: undefined };
}

export type WorkerCall = keyof WorkerCalls;

/** A call on its way to a worker; `end` lets the worker finish once everything before it is done. */
export type WorkerRequest =
  | {
      readonly [K in WorkerCall]: {
        readonly id: number;
        readonly kind: K;
        readonly request: WorkerCalls[K]['request'];
      };
    }[WorkerCall]
  | { readonly kind: 'end' };

/** What is at fault when a call fails: the device, the model file, or the network as it ran. */
export type Fault = 'device' | 'file' | 'run';

/** An answer of a worker. */
export type WorkerReply =
  | { readonly id: number; readonly value: WorkerCalls[WorkerCall]['reply'] }
  | { readonly id: number; readonly fault: Fault; readonly message: string };

/** Names of a graph's causal states: inputs `state_in_<i>`, outputs `state_out_<i>`. */
export const stateInput = (index: number): string => `state_in_${index}`;
export const stateOutput = (index: number): string => `state_out_${index}`;
export const isStateName = (name: string): boolean => /^state_(?:in|out)_\d+$/.test(name);
