// What the fields of a manifest have to say to each other.
import { posix } from 'node:path';
import { bundleFiles, graphsOf, openedFiles, tokenizerFile, tokenizerFolders } from './bundle-layout.js';
import { frameStep, type Manifest, readsPictures } from './manifest.js';

/** Returns the first field that contradicts another and how, or undefined when all agree. */
export function manifestProblem(manifest: Manifest): string | undefined {
  return rules(manifest).find(([, isKept]) => !isKept)?.[0];
}

function rules(manifest: Manifest): readonly (readonly [problem: string, isKept: boolean])[] {
  const { latent, defaults, window, graphs, files } = manifest;
  const {
    inputs,
    conditionMask,
    conditionFrom,
    knownFrames,
    knownPlace,
    knownShare,
    knownNoise,
    controls,
    residuals,
    referenceSide,
  } = graphs.denoiser;
  const kinds = graphs.controlNets?.map(({ kind }) => kind) ?? [];
  const listed = new Set(files.map(({ path }) => path));
  const halves = [graphs.vaeEncoder, graphs.vaeDecoder];
  const tokenizers = [
    tokenizerFile(tokenizerFolders.textEncoder),
    ...(graphs.textEncoder2 === undefined ? [] : [tokenizerFile(tokenizerFolders.textEncoder2)]),
  ];
  const graphPaths = graphsOf(manifest).flatMap((graph) => openedFiles(manifest, graph));
  const needed = [bundleFiles.schedulerConfig, ...tokenizers, ...graphPaths];
  const otherNames = [graphs.textEncoder, graphs.denoiser].flatMap((graph) => Object.keys(graph.otherNames ?? {}));
  const unlisted = needed.find((path) => !listed.has(path));
  return [
    [`files: expected each path once`, listed.size === files.length],
    [`files: expected ${unlisted} among them`, unlisted === undefined],
    [
      'latent.sizeMultiple: expected a multiple of spatialCompression',
      latent.sizeMultiple % latent.spatialCompression === 0,
    ],
    [
      'states: expected each spatialDivisor to divide latent.sizeMultiple',
      halves.every(({ states }) => states.every(({ spatialDivisor }) => latent.sizeMultiple % spatialDivisor === 0)),
    ],
    [
      'first.path: expected another file in the folder of path',
      halves.every(
        ({ path, first }) =>
          first === undefined || (first.path !== path && posix.dirname(first.path) === posix.dirname(path)),
      ),
    ],
    [
      'onCpu: expected another file in the folder of path',
      [...halves, graphs.denoiser].every(
        ({ path, onCpu }) => onCpu === undefined || (onCpu !== path && posix.dirname(onCpu) === posix.dirname(path)),
      ),
    ],
    [
      'onCpu: expected no first beside it',
      halves.every(({ onCpu, first }) => onCpu === undefined || first === undefined),
    ],
    [
      'whole: expected no states, first or latentFrames beside it',
      halves.every(
        ({ whole, states, first, latentFrames }) =>
          whole !== true || (states.length === 0 && first === undefined && latentFrames === undefined),
      ),
    ],
    [
      'tiles: expected whole beside it, and latentFrames of more than step and no more than twice that and 1',
      halves.every(
        ({ whole, tiles }) =>
          tiles === undefined ||
          (whole === true && tiles.step < tiles.latentFrames && tiles.latentFrames <= 2 * tiles.step + 1),
      ),
    ],
    [
      'latent.rgb.weights: expected one row a channel',
      (latent.rgb?.weights.length ?? latent.channels) === latent.channels,
    ],
    ['defaults.width: expected a multiple of latent.sizeMultiple', defaults.width % latent.sizeMultiple === 0],
    ['defaults.height: expected a multiple of latent.sizeMultiple', defaults.height % latent.sizeMultiple === 0],
    [
      'latent.frameStep: expected a multiple of latent.temporalCompression',
      frameStep(manifest) % latent.temporalCompression === 0,
    ],
    [
      'defaults.numFrames: expected 1 more than a multiple of latent.frameStep or latent.temporalCompression',
      (defaults.numFrames - 1) % frameStep(manifest) === 0,
    ],
    ['window.overlap: expected fewer than window.latentFrames', window.overlap < window.latentFrames],
    [
      'otherNames: expected at most 4 {n} in a name, and more than digits between two',
      // Such names are searched for, and where one number may end at many places, the ways to do so multiply.
      otherNames.every((name) => name.split('{n}').length <= 5 && !/\{n\}\d*\{n\}/.test(name)),
    ],
    ['graphs.denoiser.inputs: expected each input once', new Set(inputs).size === inputs.length],
    [
      'graphs.denoiser.conditionMask: expected the meaning of each channel exactly when condition_mask is an input',
      inputs.includes('condition_mask') === (conditionMask?.length ?? 0) > 0,
    ],
    [
      'graphs.denoiser.conditionFrom: expected knownFrames "told" with "pixels", as no latents of known frames alone are there to keep',
      conditionFrom !== 'pixels' || knownFrames === 'told',
    ],
    [
      'graphs.denoiser.inputs: expected control_latents, control_scale and controls together, and conditionFrom "pixels"',
      inputs.includes('control_latents') === (controls !== undefined) &&
        inputs.includes('control_scale') === (controls !== undefined) &&
        (controls === undefined || conditionFrom === 'pixels'),
    ],
    ['graphs.controlNets: expected each kind once', new Set(kinds).size === kinds.length],
    [
      'graphs.denoiser.residuals: expected with controlNets alone, and those without controls',
      (residuals === undefined) === (kinds.length === 0) && (controls === undefined || kinds.length === 0),
    ],
    [
      'graphs.controlNets: expected latent.temporalCompression 1, a picture for each latent frame',
      kinds.length === 0 || latent.temporalCompression === 1,
    ],
    [
      'tasks: expected control exactly with controls or controlNets',
      manifest.tasks.includes('control') === (controls !== undefined || kinds.length > 0),
    ],
    [
      'graphs.denoiser.inputs: expected reference exactly with referenceSide, and the task "reference" then',
      inputs.includes('reference') === (referenceSide !== undefined) &&
        (referenceSide === undefined || manifest.tasks.includes('reference')),
    ],
    [
      'graphs.textEncoder2: expected pooled_embeds among graphs.denoiser.inputs',
      graphs.textEncoder2 === undefined || inputs.includes('pooled_embeds'),
    ],
    [
      'graphs.imageEncoder: expected it exactly when image_embeds are an input of graphs.denoiser or graphs.textEncoder',
      (inputs.includes('image_embeds') || readsPictures(manifest)) === (graphs.imageEncoder !== undefined),
    ],
    [
      'graphs.denoiser.inputs: expected condition_latents and condition_mask together, or condition_mask alone with knownFrames "held"',
      inputs.includes('condition_mask') ===
        (knownFrames === 'held' ? !inputs.includes('condition_latents') : inputs.includes('condition_latents')),
    ],
    [
      'graphs.denoiser.knownNoise: expected knownFrames "held" beside it',
      knownNoise === undefined || knownFrames === 'held',
    ],
    [
      'graphs.denoiser.knownPlace: expected knownFrames "told" and condition_latents beside it',
      knownPlace === undefined ||
        (knownFrames === 'told' && conditionFrom !== 'pixels' && inputs.includes('condition_latents')),
    ],
    [
      'graphs.denoiser.knownShare: expected condition_latents of known frames alone beside it',
      knownShare === undefined || (conditionFrom !== 'pixels' && inputs.includes('condition_latents')),
    ],
  ];
}
