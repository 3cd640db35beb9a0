// The contract of one network: it runs off the main thread, in turn with the others of its device.

/** A tensor on its way to or from a network. */
export type NetworkTensor =
  | { readonly type: 'float32'; readonly data: Float32Array; readonly shape: readonly number[] }
  | { readonly type: 'int64'; readonly data: BigInt64Array; readonly shape: readonly number[] };

/** Name, type and shape of a graph's input or output; a dynamic axis is its symbol. */
export interface TensorInfo {
  readonly name: string;
  readonly type: string;
  readonly shape: readonly (number | string)[];
}

/** How one call waits for its turn. */
export interface RunOptions {
  /** Leaves the queue at once when it fires; a network that already runs is waited for and its answer dropped. */
  signal?: AbortSignal | undefined;
  /** Higher runs first. Default 0. */
  priority?: number | undefined;
  /** Gives the buffers of the feeds away instead of copying them; they are empty afterwards. Default false. */
  transfer?: boolean | undefined;
}

/** What a graph takes and gives. */
export interface GraphInfo {
  readonly inputs: readonly TensorInfo[];
  readonly outputs: readonly TensorInfo[];
}

/** A loaded network. */
export interface NetworkSession extends GraphInfo {
  /** The graph that runs the first call of every stream, where that is another one; it takes no states. */
  readonly first: GraphInfo | undefined;
  /** Returns all outputs; the caller owns their buffers. Throws NetworkError when the graph fails. */
  run(feeds: Readonly<Record<string, NetworkTensor>>, options?: RunOptions): Promise<Record<string, NetworkTensor>>;
  /** Returns a stream whose states (`state_in_<i>` fed from `state_out_<i>`) start at zero and never leave the device. */
  openStream(stateShapes: readonly (readonly number[])[]): Promise<NetworkStream>;
  /** Frees the network's memory. Later calls throw. */
  release(): Promise<void>;
}

/** Calls that hand their states on from one to the next. */
export interface NetworkStream {
  /** Like NetworkSession.run, without the states among feeds and outputs. */
  run(feeds: Readonly<Record<string, NetworkTensor>>, options?: RunOptions): Promise<Record<string, NetworkTensor>>;
  /** Frees the states. */
  close(): Promise<void>;
}
