// An onnxruntime session of a model file, with the options that suit the device. Runs in the network worker.
import { dirname } from 'node:path';
import { env, InferenceSession, Tensor } from 'onnxruntime-node';
import { BundleError } from '../errors.js';
import { changeWeights } from './change-weights.js';
import type { Device } from './model.js';
import { readGraphOutline, readNodes } from './onnx-file.js';
import { probeModel } from './probe-model.js';
import type { TensorInfo } from './session.js';
import { type Fault, isStateName, type SessionSpec } from './worker-protocol.js';

/** A call that could not be answered, and what is at fault. */
export class CallError extends Error {
  readonly fault: Fault;

  constructor(fault: Fault, message: string) {
    super(message);
    this.fault = fault;
  }
}

/** What onnxruntime calls the devices. */
const providerNames: Record<Device, string> = {
  cpu: 'cpu',
  webgpu: 'webgpu',
  cuda: 'cuda',
  tensorrt: 'tensorrt',
  directml: 'dml',
  coreml: 'coreml',
};

/** Types that a graph may take and give. */
const boundaryTypes: readonly string[] = ['float32', 'int64'];

/** Severity 4 is fatal: failures are thrown, so that printing them too would only spoil progress bars and JSON. */
const logSeverityLevel = 4;
env.logLevel = 'fatal';

/**
 * Threads that wait for their next piece of work sleep. On 2 cores, decoding 4 frames of 128 x 128, spinning threads
 * took as long when the machine was quiet (48 and 44 ms) for half as much CPU time again (55 and 44 ms), and nearly
 * twice as long beside another busy process (657 and 376 ms), as ffmpeg is.
 */
const noSpinning = { session: { intra_op: { allow_spinning: '0' } } };

/** Returns an open session. Throws CallError. */
export async function createOrtSession(spec: SessionSpec): Promise<InferenceSession> {
  let session: InferenceSession;
  try {
    const chosen = {
      ...options(spec.device, spec.threads),
      ...(spec.device === 'webgpu' ? webgpuOptions(spec.path) : {}),
    };
    session = await (spec.changes.length === 0
      ? InferenceSession.create(spec.path, chosen)
      : InferenceSession.create(changeWeights(spec.path, spec.changes), withWeightsIn(dirname(spec.path), chosen)));
  } catch (error) {
    if (error instanceof BundleError) throw new CallError('file', error.message);
    // Whose fault it is shows when the device is given a graph that is known to be good.
    const complaint = spec.device === 'cpu' ? undefined : await deviceComplaint(spec.device);
    if (complaint !== undefined) throw new CallError('device', complaint);
    throw new CallError('file', `Expected ${spec.path} to be an ONNX model that loads: ${ortMessage(error)}.`);
  }
  const odd = [...describeTensors(session.inputMetadata), ...describeTensors(session.outputMetadata)].find(
    ({ type }) => !boundaryTypes.includes(type),
  );
  if (odd === undefined) return session;
  await session.release();
  throw new CallError(
    'file',
    `Expected ${odd.name} of ${spec.path} to be float32 or int64, got ${odd.type}. ` +
      'Export the model with float32 inputs and outputs; it may compute in float16 inside.',
  );
}

/** Returns what is wrong with a device, or undefined when it runs a small network. */
export async function deviceComplaint(device: Device): Promise<string | undefined> {
  try {
    await timeProbe(device, 4);
    return undefined;
  } catch (error) {
    return ortMessage(error);
  }
}

const slowMs = 50;

/** Returns the milliseconds that a device takes for the probe network on matrices of that size: the best of three. */
export async function timeProbe(device: Device, size: number): Promise<number> {
  const session = await InferenceSession.create(probeModel, options(device, undefined));
  const x = new Tensor('float32', new Float32Array(size * size), [size, size]);
  const times: number[] = [];
  // The first run compiles shaders and plans memory.
  await session.run({ x });
  // What is slow anyway needs no second look.
  while (times.length < 3 && (times[0] ?? 0) < slowMs) {
    const start = performance.now();
    await session.run({ x });
    times.push(performance.now() - start);
  }
  await session.release();
  return Math.min(...times);
}

function options(device: Device, threads: number | undefined): InferenceSession.SessionOptions {
  return {
    executionProviders: [providerNames[device]],
    graphOptimizationLevel: 'all',
    // One block planned for each shape that comes by is held beside the memory of the first run: reel-tiny's decoder then
    // takes 876 instead of 616 MB at 512x512, and no less time.
    enableMemPattern: false,
    logSeverityLevel,
    extra: noSpinning,
    ...(threads === undefined ? {} : { intraOpNumThreads: threads }),
  };
}

/** For a graph that is no file: where the weights lie that it refers to. */
function withWeightsIn(folder: string, chosen: InferenceSession.SessionOptions): InferenceSession.SessionOptions {
  const session = { ...noSpinning.session, model_external_initializers_file_folder_path: folder };
  return { ...chosen, extra: { session } };
}

/**
 * On WebGPU causal states stay on the device. Sine and cosine run on the CPU: WebGPU allows them an absolute error of
 * 2^-11 and only within [-pi, pi] (WGSL 15.7.4.1), which timestep and rotary embeddings carry into every layer.
 */
function webgpuOptions(path: string): InferenceSession.SessionOptions {
  const { outputNames } = readGraphOutline(path);
  const preferredOutputLocation: Record<string, 'cpu' | 'gpu-buffer'> = {};
  for (const name of outputNames) preferredOutputLocation[name] = isStateName(name) ? 'gpu-buffer' : 'cpu';
  const forceCpuNodeNames = readNodes(path)
    .filter(({ name, opType }) => (opType === 'Sin' || opType === 'Cos') && name !== '')
    .map(({ name }) => name);
  // An empty list is refused.
  const provider = { name: 'webgpu', ...(forceCpuNodeNames.length > 0 ? { forceCpuNodeNames } : {}) };
  return { executionProviders: [provider], preferredOutputLocation };
}

/** Returns the names, types and shapes of a graph's inputs or outputs. */
export function describeTensors(metadata: readonly InferenceSession.ValueMetadata[]): TensorInfo[] {
  return metadata.map((value) =>
    value.isTensor
      ? { name: value.name, type: value.type, shape: value.shape }
      : { name: value.name, type: 'not a tensor', shape: [] },
  );
}

const longestMessage = 400;

/** Returns what happened to a network that failed while it ran, and what to do where that is known. */
export function runFailure(path: string, error: unknown): string {
  const message = ortMessage(error);
  if (!/allocate memory|bad_alloc|out of memory|array length|allocation failed/i.test(message))
    return `${path} failed: ${message}.`;
  return `${path} ran out of memory: ${message}. Make the frames or the tiles smaller.`;
}

/** Returns an error of onnxruntime as one line, without the places in its source. */
export function ortMessage(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  const line = text
    .replace(/\s+/g, ' ')
    // A failed node starts with a status, an empty name, and the signature of the function that gave up.
    .replace(
      /Non-zero status code returned while running (\S+) node\. Name:'(\S*)' Status Message: /g,
      (_, opType: string, name: string) => (name === '' ? `${opType}: ` : `${opType} ${name}: `),
    )
    .replace(/(?:static )?\w+\*? onnxruntime::\S+\(.*?\) (?=[A-Z])/g, '')
    // A failed check starts with its place, its function and its condition.
    .replace(/\/onnxruntime_src\/\S+:\d+ (?:.* was false\. )?/g, '')
    .trim()
    .replace(/\.$/, '');
  return line.length <= longestMessage ? line : `${line.slice(0, longestMessage)}…`;
}
