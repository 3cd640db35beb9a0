// Opens a graph of a bundle and holds it against the manifest, so that a mismatch shows at load and not in mid-run.
import { join } from 'node:path';
import { BundleError } from '../errors.js';
import { type Bundle, verifyFiles } from './bundle.js';
import { filesOn, type GraphName, isControlNet } from './bundle-layout.js';
import { residualName } from './control-net.js';
import { conditionMaskLength, type Manifest, readsPictures, type StreamingGraph } from './manifest.js';
import { openSession, type SessionOptions } from './open-session.js';
import { translateOptimum } from './optimum-graphs.js';
import { joinTextEncoders } from './optimum-text.js';
import type { GraphInfo, NetworkSession, TensorInfo } from './session.js';
import { deviationOutput, noiseInput } from './vae-stream.js';
import { assertWeightsListed } from './weight-files.js';
import { isStateName, stateInput, stateOutput } from './worker-protocol.js';

/**
 * Returns the network of a bundle's graph, whose files have the SHA-256 of the manifest. Throws BundleError when they
 * have not, or when the inputs and outputs aren't what the manifest says.
 */
export async function openGraph(bundle: Bundle, graph: GraphName, options: SessionOptions): Promise<NetworkSession> {
  const { manifest } = bundle;
  const files = filesOn(options.device, manifest, graph, (options.changes ?? []).length > 0);
  const [path, firstPath] = files.opened.map((file) => join(bundle.path, file));
  if (path === undefined) throw new BundleError(`The bundle ${bundle.path} has no ${graph}. Use another model.`);
  // Hashing costs less than loading and goes on beside it. Where both fail, the hash says why.
  const [verified, opened] = await Promise.allSettled([
    verifyFiles(bundle.path, files.read),
    openChecked(bundle, files, path, { ...options, firstPath }),
  ]);
  if (opened.status === 'rejected') throw verified.status === 'rejected' ? verified.reason : opened.reason;
  const session = await translated(bundle, graph, opened.value, options);
  const wanted = signature(manifest, graph);
  let problem = misfit(manifest, path, wanted, session);
  if (firstPath !== undefined && session.first !== undefined) {
    problem ??= misfit(manifest, firstPath, withoutStateInputs(wanted), session.first);
  }
  if (verified.status === 'fulfilled' && problem === undefined) return session;
  await session.release();
  if (verified.status === 'rejected') throw verified.reason;
  throw new BundleError(`${problem}. Export the bundle again.`);
}

/** Returns the network once it has been seen that it reads nothing but what is hashed; folders of optimum have no hashes. */
async function openChecked(
  bundle: Bundle,
  { opened, read }: ReturnType<typeof filesOn>,
  path: string,
  options: SessionOptions,
): Promise<NetworkSession> {
  if (bundle.optimum === undefined) assertWeightsListed(bundle.path, opened, read);
  return openSession(path, options);
}

/** Returns the session with the inputs and outputs that a bundle's graph has. */
async function translated(
  { path, optimum }: Bundle,
  graph: GraphName,
  session: NetworkSession,
  options: SessionOptions,
): Promise<NetworkSession> {
  if (optimum === undefined) return session;
  const { secondTextEncoder: second } = optimum;
  if (graph !== 'textEncoder' || second === undefined) return translateOptimum(session, graph, optimum);
  try {
    return joinTextEncoders(session, await openSession(join(path, second.path), options), second);
  } catch (error) {
    await session.release();
    throw error;
  }
}

/** A tensor that a graph must have: an axis is a length, or undefined where any will do. */
interface WantedTensor {
  readonly name: string;
  readonly types: readonly string[];
  readonly shape: readonly (number | undefined)[];
  /** Whether the graph may do without it. */
  readonly isOptional?: boolean;
}

interface Signature {
  readonly inputs: readonly WantedTensor[];
  readonly outputs: readonly WantedTensor[];
}

const any = undefined;

function wanted(name: string, shape: WantedTensor['shape'], types: WantedTensor['types'] = ['float32']): WantedTensor {
  return { name, types, shape };
}

function signature(manifest: Manifest, graph: GraphName): Signature {
  const { latent, graphs } = manifest;
  const latents = wanted('latents', [any, latent.channels, any, any, any]);
  const pixels = wanted('pixels', [any, 3, any, any, any]);
  if (graph === 'textEncoder' || graph === 'textEncoder2') {
    const ids = ['input_ids', 'attention_mask'].map((name) => wanted(name, [any, any], ['int64']));
    const pooled = wanted('pooled_embeds', [any, any]);
    if (graph === 'textEncoder2') return { inputs: ids, outputs: [pooled] };
    const givesPooled = graphs.denoiser.inputs.includes('pooled_embeds') && graphs.textEncoder2 === undefined;
    const pictures = readsPictures(manifest) ? [wanted('image_embeds', [any, any, any])] : [];
    const mask = { ...wanted('prompt_mask', [any, any]), isOptional: true };
    return {
      inputs: [...ids, ...pictures],
      outputs: [wanted('prompt_embeds', [any, any, any]), mask, ...(givesPooled ? [pooled] : [])],
    };
  }
  if (graph === 'imageEncoder') {
    return {
      inputs: [wanted('pixels', [any, 3, any, any])],
      outputs: [wanted('image_embeds', [any, any, any])],
    };
  }
  if (isControlNet(graph)) {
    const timestep = wanted('timestep', [any], ['float32', 'int64']);
    return {
      inputs: [latents, timestep, wanted('prompt_embeds', [any, any, any]), pixels],
      outputs: residuals(manifest),
    };
  }
  if (graph === 'denoiser' || graph === 'denoiser2') {
    const { inputs } = graphs.denoiser;
    const optional = {
      prompt_embeds: wanted('prompt_embeds', [any, any, any]),
      prompt_mask: wanted('prompt_mask', [any, any], ['int64', 'float32']),
      pooled_embeds: wanted('pooled_embeds', [any, any]),
      guidance: wanted('guidance', [any]),
      image_embeds: wanted('image_embeds', [any, any, any]),
      frame_rate: wanted('frame_rate', [any]),
      frame_starts: wanted('frame_starts', [any, any]),
      condition_latents: { ...latents, name: 'condition_latents' },
      condition_mask: wanted('condition_mask', [any, conditionMaskLength(manifest), any, any, any]),
      control_latents: { ...latents, name: 'control_latents' },
      control_scale: wanted('control_scale', [any]),
      reference: wanted('reference', [any, 4, graphs.denoiser.referenceSide, graphs.denoiser.referenceSide]),
    };
    return {
      inputs: [
        latents,
        wanted('timestep', [any], ['float32', 'int64']),
        ...inputs.map((name) => optional[name]),
        ...residuals(manifest),
      ],
      outputs: [{ ...latents, name: 'prediction' }],
    };
  }
  const { states, tiles } = graphs[graph];
  // Tiles that share frames would have to share their noise, too.
  const noise = tiles === undefined ? [{ ...latents, name: noiseInput, isOptional: true }] : [];
  const deviation = { ...latents, name: deviationOutput, isOptional: true };
  const [taken, given] = graph === 'vaeEncoder' ? [[pixels], [latents, deviation]] : [[latents, ...noise], [pixels]];
  return {
    inputs: [...taken, ...stateTensors(states, stateInput)],
    outputs: [...given, ...stateTensors(states, stateOutput)],
  };
}

/** Returns what control nets give and the denoiser takes: a row a frame. */
function residuals({ graphs }: Manifest): WantedTensor[] {
  return (graphs.denoiser.residuals ?? []).map(({ channels }, index) =>
    wanted(residualName(index), [any, channels, any, any]),
  );
}

function stateTensors(states: StreamingGraph['states'], nameOf: (index: number) => string): WantedTensor[] {
  return states.map(({ channels, frames }, index) => wanted(nameOf(index), [any, channels, frames, any, any]));
}

/** Returns the signature of the graph that starts a clip: it takes no states and gives all. */
function withoutStateInputs({ inputs, outputs }: Signature): Signature {
  return { inputs: inputs.filter(({ name }) => !isStateName(name)), outputs };
}

/** Returns how a graph differs from what the manifest says of it, or undefined when it does not. */
function misfit(
  { name }: Manifest,
  path: string,
  { inputs, outputs }: Signature,
  graph: GraphInfo,
): string | undefined {
  const problem = compare('input', inputs, graph.inputs) ?? compare('output', outputs, graph.outputs);
  return problem === undefined ? undefined : `${path} does not fit ${name}'s manifest: ${problem}`;
}

function compare(
  what: string,
  wantedTensors: readonly WantedTensor[],
  tensors: readonly TensorInfo[],
): string | undefined {
  const missing = wantedTensors.filter(
    ({ name, isOptional }) => isOptional !== true && !tensors.some((tensor) => tensor.name === name),
  );
  if (missing.length > 0) return `it lacks the ${what} ${missing.map(({ name }) => name).join(', ')}`;
  const extra = tensors.filter(({ name }) => !wantedTensors.some((tensor) => tensor.name === name));
  if (extra.length > 0) return `it has the unknown ${what} ${extra.map(({ name }) => name).join(', ')}`;
  for (const { name, types, shape } of wantedTensors) {
    const found = tensors.find((tensor) => tensor.name === name);
    if (found === undefined) continue;
    if (!types.includes(found.type)) return `the ${what} ${name} is ${found.type} instead of ${types.join(' or ')}`;
    if (!fits(shape, found.shape)) {
      return `the ${what} ${name} has shape [${found.shape.join(', ')}] instead of [${shape.map((length) => length ?? '*').join(', ')}]`;
    }
  }
  return undefined;
}

function fits(shape: WantedTensor['shape'], found: TensorInfo['shape']): boolean {
  return (
    shape.length === found.length &&
    found.every((length, axis) => typeof length !== 'number' || length === (shape[axis] ?? length))
  );
}
