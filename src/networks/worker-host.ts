// The main thread's end of a network worker: one worker a device, started when needed and ended when unused.
// Calls of a device take turns anyway, so a worker for each network would cost 10 MB and gain nothing; and only one
// thread may use the WebGPU device, which onnxruntime shares between all sessions of a process. A native crash would
// end the process whatever the number of threads.
import { Worker } from 'node:worker_threads';
import { BundleError, DeviceError, NetworkError, type ReelspaceError } from '../errors.js';
import type { Device } from './model.js';
import type { Fault, WorkerCall, WorkerCalls, WorkerReply, WorkerRequest } from './worker-protocol.js';

interface PendingCall {
  resolve(value: WorkerCalls[WorkerCall]['reply']): void;
  reject(error: ReelspaceError): void;
}

/** A worker thread that holds all networks of a device. */
export class WorkerHost {
  readonly #worker = new Worker(new URL('./session-worker.js', import.meta.url), {
    name: 'networks',
    execArgv: [],
    // onnxruntime goes over the command line of the process, in a recursion of a frame a letter: with Node's 4 MB a prompt of 15,000
    // letters ended the process, with these 128 one line of 600,000. They are taken when they are used.
    resourceLimits: { stackSizeMb: 128 },
  });
  readonly #pending = new Map<number, PendingCall>();
  #lastId = 0;
  #failure: NetworkError | undefined;
  /** Sessions that live in the worker or are being opened there. */
  users = 0;

  constructor() {
    // A worker alone keeps no process alive; a call that somebody waits for does.
    this.#worker.unref();
    this.#worker.on('message', (reply: WorkerReply) => this.#settle(reply));
    this.#worker.on('error', (error) => this.#fail(`failed: ${error.message}`, error));
    this.#worker.on('exit', (code) => this.#fail(`ended with code ${code}`));
  }

  /** Whether the worker has ended or failed. */
  get isDead(): boolean {
    return this.#failure !== undefined;
  }

  /** Returns the worker's answer. `transfer` lists the buffers that are given away. */
  call<K extends WorkerCall>(
    kind: K,
    request: WorkerCalls[K]['request'],
    transfer: readonly ArrayBuffer[] = [],
  ): Promise<WorkerCalls[K]['reply']> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      this.#worker.postMessage({ id, kind, request } as WorkerRequest, transfer);
      this.#pending.set(id, { resolve: resolve as PendingCall['resolve'], reject });
      this.#worker.ref();
    });
  }

  /** Ends the worker once it has done all that it was asked before. */
  end(): void {
    if (!this.isDead) this.#worker.postMessage({ kind: 'end' } satisfies WorkerRequest);
  }

  /** Ends the worker at once, whatever it does. Calls that wait for it throw. */
  async terminate(): Promise<void> {
    await this.#worker.terminate();
  }

  #settle(reply: WorkerReply): void {
    const call = this.#pending.get(reply.id);
    this.#pending.delete(reply.id);
    if (this.#pending.size === 0) this.#worker.unref();
    if ('fault' in reply) call?.reject(errorFor(reply.fault, reply.message));
    else call?.resolve(reply.value);
  }

  #fail(what: string, cause?: unknown): void {
    this.#failure ??= new NetworkError(`The thread that runs the networks ${what}. Load the model again.`, { cause });
    for (const call of this.#pending.values()) call.reject(this.#failure);
    this.#pending.clear();
  }
}

function errorFor(fault: Fault, message: string): ReelspaceError {
  if (fault === 'device') return new DeviceError(message);
  return fault === 'file' ? new BundleError(message) : new NetworkError(message);
}

const hosts = new Map<Device, WorkerHost>();

/** Returns the worker of a device, started if there is none. Every call needs one `leaveHost`. */
export function joinHost(device: Device): WorkerHost {
  const known = hosts.get(device);
  const host = known === undefined || known.isDead ? new WorkerHost() : known;
  hosts.set(device, host);
  host.users++;
  return host;
}

/** Ends the worker when nobody else uses it. */
export function leaveHost(device: Device, host: WorkerHost): void {
  host.users--;
  if (host.users > 0) return;
  if (hosts.get(device) === host) hosts.delete(device);
  host.end();
}
