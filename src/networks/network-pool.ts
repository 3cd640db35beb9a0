// The networks of a model: opened when they are first used, and given up again as memory is to be spared.
import { type GraphName, isControlNet } from './bundle-layout.js';
import type { MemoryUse } from './model.js';
import type { NetworkSession } from './session.js';

/** What is used once a run, at its start. */
const encoders: ReadonlySet<GraphName> = new Set(['textEncoder', 'textEncoder2', 'imageEncoder']);

/** How a stream comes by its network. */
export interface Opener {
  open(): Promise<NetworkSession>;
  /** Begins to open it beside what runs now, unless that would take too much memory. */
  openAhead(): void;
}

/** Networks of a model that are open, by their graphs. */
export class NetworkPool {
  readonly #open: (graph: GraphName) => Promise<NetworkSession>;
  readonly #memory: MemoryUse;
  readonly #networks = new Map<GraphName, Promise<NetworkSession>>();
  /** How many calls and streams a network serves. */
  readonly #users = new Map<GraphName, number>();

  constructor(open: (graph: GraphName) => Promise<NetworkSession>, memory: MemoryUse) {
    this.#open = open;
    this.#memory = memory;
  }

  /** Returns what the call makes with the network, which is kept until then. */
  async use<T>(graph: GraphName, call: (network: NetworkSession) => Promise<T>): Promise<T> {
    this.#count(graph, 1);
    try {
      return await call(await this.#network(graph));
    } finally {
      this.#count(graph, -1);
    }
  }

  /** Yields what is made with the network, which is kept from its opening until the loop ends. */
  async *stream<T>(graph: GraphName, make: (opener: Opener) => AsyncGenerator<T>): AsyncGenerator<T> {
    const open = () => this.#network(graph);
    const openAhead = () => {
      // Whoever opens it hears of a failure.
      if (this.#memory !== 'low') open().catch(() => {});
    };
    this.#count(graph, 1);
    try {
      yield* make({ open, openAhead });
    } finally {
      this.#count(graph, -1);
    }
  }

  /** Frees the memory of networks; they are opened anew when they are used again. */
  async release(graphs: Iterable<GraphName> = this.#networks.keys()): Promise<void> {
    const opening = [...graphs].flatMap((graph) => {
      const network = this.#networks.get(graph);
      this.#networks.delete(graph);
      return network ?? [];
    });
    const opened = await Promise.allSettled(opening);
    await Promise.all(opened.map((result) => (result.status === 'fulfilled' ? result.value.release() : undefined)));
  }

  async #network(graph: GraphName): Promise<NetworkSession> {
    // Before another one is opened, so that the two are never there at once.
    await this.release(
      [...this.#networks.keys()].filter(
        (other) => other !== graph && !workTogether(other, graph) && this.#isSpared(other),
      ),
    );
    const known = this.#networks.get(graph);
    if (known !== undefined) return known;
    const opening = this.#open(graph);
    this.#networks.set(graph, opening);
    try {
      return await opening;
    } catch (error) {
      // What was in the way may be gone the next time.
      this.#networks.delete(graph);
      throw error;
    }
  }

  /** Whether a network is given up once another one is used. */
  #isSpared(graph: GraphName): boolean {
    if (this.#memory === 'high' || (this.#users.get(graph) ?? 0) > 0) return false;
    return this.#memory === 'low' || encoders.has(graph);
  }

  #count(graph: GraphName, change: 1 | -1): void {
    this.#users.set(graph, (this.#users.get(graph) ?? 0) + change);
  }
}

/** Whether two networks take turns at every step, so that neither is given up for the other. */
function workTogether(one: GraphName, other: GraphName): boolean {
  const nets = [one, other].filter(isControlNet).length;
  return nets === 2 || (nets === 1 && (one.startsWith('denoiser') || other.startsWith('denoiser')));
}
