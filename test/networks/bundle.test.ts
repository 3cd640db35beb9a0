import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { cp, mkdir, mkdtemp, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { BundleError } from '../../src/errors.js';
import { type Bundle, listModels, readBundle, verifyBundle } from '../../src/networks/bundle.js';
import { filesOn, type GraphName, graphPath, graphsOf } from '../../src/networks/bundle-layout.js';
import { changeWeights } from '../../src/networks/change-weights.js';
import { inspectBundle } from '../../src/networks/inspect.js';
import { dataTypes, readGraphOutline } from '../../src/networks/onnx-file.js';
import { openGraph } from '../../src/networks/open-graph.js';
import { sizeOf } from '../../src/tensor/tensor.js';

const tiny = fileURLToPath(new URL('../../../test/fixtures/tiny-bundle/', import.meta.url));
let scratch: string;
let copies = 0;
before(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'reelspace-bundle-'));
});
after(() => rm(scratch, { recursive: true }));

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex');

/** Returns a copy of the tiny bundle in a folder of its own. */
async function copyOfTiny(): Promise<string> {
  const folder = join(scratch, String(++copies));
  await cp(tiny, folder, { recursive: true });
  return folder;
}

/** A field of the manifest by its path, and its new value, made from the old one; undefined takes the field away. */
type Change = readonly [path: string, edit: (old: never) => unknown];

/** Returns a copy of the tiny bundle with these changes to its manifest. */
async function withManifest(...changes: Change[]): Promise<string> {
  const folder = await copyOfTiny();
  const file = join(folder, 'reelspace.json');
  const manifest: Record<string, unknown> = JSON.parse(await readFile(file, 'utf8'));
  for (const [path, edit] of changes) {
    const keys = path.split('.');
    const last = keys.pop() ?? '';
    const parent = keys.reduce((node, key) => node[key] as Record<string, unknown>, manifest);
    parent[last] = edit(parent[last] as never);
  }
  await writeFile(file, JSON.stringify(manifest));
  return folder;
}

/** Returns a copy of the tiny bundle with a byte changed in the middle of these files. */
async function withChangedBytes(...names: string[]): Promise<string> {
  const folder = await copyOfTiny();
  for (const name of names) {
    const bytes = await readFile(join(folder, name));
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
    await writeFile(join(folder, name), bytes);
  }
  return folder;
}

async function rejects(promise: Promise<unknown>, ...parts: RegExp[]): Promise<void> {
  await assert.rejects(promise, (error) => {
    assert.ok(error instanceof BundleError, String(error));
    for (const part of parts) assert.match(error.message, part);
    assert.doesNotMatch(error.message, /\n/);
    return true;
  });
}

/** Returns the bundle in a folder once its manifest lists these files as they are now. */
async function relist(folder: string, ...paths: string[]): Promise<Bundle> {
  const file = join(folder, 'reelspace.json');
  const manifest = JSON.parse(await readFile(file, 'utf8'));
  const others = manifest.files.filter(({ path }: { path: string }) => !paths.includes(path));
  const listed = await Promise.all(
    paths.map(async (path) => {
      const bytes = await readFile(join(folder, path));
      return { path, sizeBytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') };
    }),
  );
  await writeFile(file, JSON.stringify({ ...manifest, files: [...others, ...listed] }));
  return readBundle(folder);
}

test('a whole bundle is read and verified', async () => {
  const bundle = await readBundle(tiny);
  assert.equal(bundle.manifest.name, 'tiny-bundle');
  assert.deepEqual(
    bundle.schedulerConfig,
    JSON.parse(await readFile(join(tiny, 'scheduler/scheduler_config.json'), 'utf8')),
  );
  await verifyBundle(bundle);
  const { files } = JSON.parse(await readFile(join(tiny, 'reelspace.json'), 'utf8'));
  assert.deepEqual(bundle.manifest.files, files);
});

test('an unknown name lists the bundled models and tells how to name a folder', async () => {
  await rejects(readBundle('nowhere'), /name of a bundled model, got "nowhere"/, /write \.\/nowhere/);
  await rejects(readBundle('./nowhere'), /a folder that exists, got ".\/nowhere"/);
  await rejects(readBundle(''), /got ""/);
  await rejects(readBundle(scratch), /one with a reelspace\.json/);
  await rejects(readBundle(join(tiny, 'reelspace.json')), /a folder that exists/);
});

test('a pipeline that is not exported yet is told how to be', async () => {
  const folder = join(scratch, 'pipeline');
  await mkdir(folder);
  await writeFile(join(folder, 'model_index.json'), '{"_class_name": "WanPipeline"}');
  await rejects(
    readBundle(folder),
    /one with a reelspace\.json/,
    new RegExp(`Export it: python -m export --pipeline ${folder} --out FOLDER, in models/\\.$`),
  );
});

test('bundled models are listed with the summary of their manifest', async () => {
  for (const { name, path, summary } of await listModels()) {
    const bundle = await readBundle(name);
    assert.equal(bundle.path, path);
    assert.equal(bundle.manifest.name, name);
    assert.equal(bundle.manifest.summary, summary);
  }
});

test('a manifest that is no manifest names the field', async () => {
  const cases: [...Change, RegExp][] = [
    ['latent.channels', () => undefined, /at latent\.channels: /],
    ['defaults.steps', () => '4', /at defaults\.steps: /],
    ['defaults.steps', () => 10 ** 12, /at defaults\.steps: .*<=1000/],
    ['defaults.numFrames', () => 4 * 10 ** 12 + 1, /at defaults\.numFrames: .*<=1000000/],
    ['defaults.width', () => 8 * 10 ** 9, /at defaults\.width: .*<=100000/],
    ['defaults.frameRate', () => 1e300, /at defaults\.frameRate: .*<=240/],
    ['latent.channels', () => 10 ** 9, /at latent\.channels: .*<=100000/],
    ['latent.spatialCompression', () => 10 ** 9, /at latent\.spatialCompression: .*<=256/],
    ['window', () => ({ latentFrames: 10 ** 9, overlap: 0 }), /at window\.latentFrames: .*<=100000/],
    ['window.multiple', () => 10 ** 9, /at window\.multiple: .*<=100000/],
    ['graphs.textEncoder.maxTokens', () => 10 ** 9, /at graphs\.textEncoder\.maxTokens: .*<=100000/],
    ['graphs.vaeDecoder.states.0.frames', () => 10 ** 9, /at graphs\.vaeDecoder\.states\.0\.frames: .*<=100000/],
    ['tasks', () => ['fly'], /at tasks\.0: /],
    ['files.0.sha256', () => 'abc', /at files\.0\.sha256: /],
    ['formatVersion', () => 2, /formatVersion 2, .* reads up to 1\. Update/],
    ['formatVersion', () => 0, /at formatVersion: /],
    ['graphs.denoiser.path', () => '../model.onnx', /at graphs\.denoiser\.path: .*inside the bundle/],
    ['files.0.path', () => '/etc/hostname', /at files\.0\.path: .*inside the bundle/],
    ['files', (files: unknown[]) => [...files, files[0]], /at files: expected each path once/],
    ['files', (files: unknown[]) => files.slice(0, -1), /at files: expected vae_encoder\/model\.onnx among them/],
    ['window.overlap', () => 4, /at window\.overlap/],
    ['latent.frameStep', () => 6, /at latent\.frameStep/],
    ['graphs.vaeDecoder.whole', () => true, /at whole: expected no states/],
    ['graphs.vaeDecoder.tiles', () => ({ latentFrames: 5, step: 3 }), /at tiles: expected whole beside it/],
    ['graphs.vaeDecoder', tiled(5, 5), /at tiles: expected whole beside it, and latentFrames of more than step/],
    ['graphs.vaeDecoder', tiled(8, 3), /at tiles: expected whole/],
    ['graphs.textEncoder2', secondEncoder, /at files: expected tokenizer_2\/tokenizer\.json among them/],
    ['latent.sizeMultiple', () => 12, /at latent\.sizeMultiple/],
    ['graphs.vaeDecoder.states.0.spatialDivisor', () => 3, /spatialDivisor to divide latent\.sizeMultiple/],
    ['defaults.width', () => 36, /at defaults\.width/],
    ['defaults.height', () => 36, /at defaults\.height/],
    ['defaults.numFrames', () => 8, /at defaults\.numFrames/],
    ['latent.rgb.weights', (rows: unknown[]) => rows.slice(1), /at latent\.rgb\.weights/],
    ['graphs.denoiser.conditionMask', () => undefined, /at graphs\.denoiser\.conditionMask/],
    ['graphs.denoiser.inputs', (inputs: string[]) => [...inputs, 'prompt_mask'], /inputs: expected each input once/],
    ['graphs.denoiser.inputs', () => ['condition_mask'], /condition_latents and condition_mask together/],
    ['graphs.denoiser.knownFrames', () => 'held', /condition_mask alone with knownFrames "held"/],
    ['graphs.denoiser.knownPlace', () => 'before', /knownPlace: expected knownFrames "told" and condition_latents/],
    ['graphs.textEncoder.inputs', () => ['image_embeds'], /imageEncoder: expected it exactly when image_embeds/],
    [
      'graphs.denoiser.otherNames',
      () => ({ ['{n}'.repeat(12)]: 'x' }),
      /otherNames: expected at most 4 \{n\} in a name/,
    ],
    ['graphs.denoiser.otherNames', () => ({ 'a{n}0{n}': 'x' }), /otherNames: .* more than digits between two/],
    ['graphs.textEncoder.otherNames', () => ({ 'a.{n}{n}': ['x', 'y'] }), /otherNames: .* more than digits/],
    ['graphs.denoiser.otherNames', () => ({ [`a{n}.b${'_{n}'.repeat(4)}`]: 'x' }), /otherNames: expected at most 4/],
    ['graphs.denoiser.referenceSide', () => 48, /inputs: expected reference exactly with referenceSide, and the task/],
    ['graphs.denoiser.knownNoise', () => 0.1, /knownNoise: expected knownFrames "held"/],
  ];
  for (const [path, edit, part] of cases) {
    await rejects(readBundle(await withManifest([path, edit])), part, /reelspace\.json/);
  }
  const listed = (files: { path: string }[]) => [...files, { ...files[0], path: 'tokenizer_2/tokenizer.json' }];
  const pixels: Change = ['graphs.denoiser.conditionFrom', () => 'pixels'];
  const told: Change = ['graphs.denoiser.knownFrames', () => 'told'];
  await rejects(
    readBundle(await withManifest(pixels, told, ['graphs.denoiser.knownShare', () => 0.1])),
    /knownShare: expected condition_latents of known frames alone/,
  );
  await rejects(
    readBundle(await withManifest(['graphs.textEncoder2', secondEncoder], ['files', listed])),
    /at graphs\.textEncoder2: expected pooled_embeds among graphs\.denoiser\.inputs/,
  );
});

/** The list of files, one of which now has that text. */
const listedAs = (name: string, text: string) => (files: { path: string }[]) =>
  files.map((file) => (file.path === name ? { ...file, sizeBytes: text.length, sha256: sha256(text) } : file));
const secondEncoder = () => ({ path: 'text_encoder/model.onnx', maxTokens: 8, padding: 'max' });
const tiled = (latentFrames: number, step: number) => () => ({
  path: 'vae_decoder/model.onnx',
  whole: true,
  tiles: { latentFrames, step },
  states: [],
});

test('JSON that is none is named', async () => {
  const folder = await copyOfTiny();
  await writeFile(join(folder, 'reelspace.json'), '{"formatVersion": 1');
  await rejects(readBundle(folder), /reelspace\.json to be JSON/);
  await writeFile(join(folder, 'reelspace.json'), '[]');
  await rejects(readBundle(folder), /to be a JSON object, got \[\]/);
  await writeFile(join(folder, 'reelspace.json'), `{"a":${'['.repeat(65)}${']'.repeat(65)}}`);
  await rejects(readBundle(folder), /reelspace\.json to be JSON of at most 64 levels/);
  await writeFile(join(folder, 'reelspace.json'), `{"tasks":[0${',0'.repeat(2 ** 19)}]}`);
  await rejects(readBundle(folder), /reelspace\.json to be at most 1048576 bytes/);
});

test('a scheduler config without an end is refused at once', async () => {
  const name = 'scheduler/scheduler_config.json';
  for (const text of [`{"a": "${'\\"'.repeat(500_000)}`, `{"a": "${'x\\'.repeat(100_000)}\n`]) {
    const folder = await withManifest(['files', listedAs(name, text)]);
    await writeFile(join(folder, name), text);
    await rejects(readBundle(folder), /scheduler_config\.json to be JSON/);
  }
});

test('the -Infinity that Python writes into a scheduler config is read as null', async () => {
  const name = 'scheduler/scheduler_config.json';
  const text = '{"_class_name": "X", "lambda_min_clipped": -Infinity, "note": "-Infinity \\" stays"}';
  const folder = await withManifest(['files', listedAs(name, text)]);
  await writeFile(join(folder, name), text);
  const { schedulerConfig } = await readBundle(folder);
  assert.deepEqual(schedulerConfig, { _class_name: 'X', lambda_min_clipped: null, note: '-Infinity " stays' });
});

test('a missing, cut or altered file is named', async () => {
  const missing = await copyOfTiny();
  await rm(join(missing, 'vae_decoder/model.onnx'));
  await rejects(readBundle(missing), /lacks vae_decoder\/model\.onnx/);

  const cut = await copyOfTiny();
  await truncate(join(cut, 'transformer/model.onnx'), 1000);
  await rejects(readBundle(cut), /transformer\/model\.onnx has 1000 bytes instead of \d+/);

  await rejects(readBundle(await withChangedBytes('tokenizer/tokenizer.json')), /tokenizer\.json has another SHA-256/);
});

test('an altered graph is named when it is opened, and all altered files when the bundle is verified', async () => {
  const altered = await withChangedBytes('transformer/model.onnx', 'vae_decoder/model.onnx');
  const bundle = await readBundle(altered);
  await rejects(openGraph(bundle, 'denoiser', { device: 'cpu' }), /transformer\/model\.onnx has another SHA-256\./);
  await (await openGraph(bundle, 'vaeEncoder', { device: 'cpu' })).release();
  const both = /transformer\/model\.onnx has another SHA-256; vae_decoder\/model\.onnx has another SHA-256\./;
  await rejects(verifyBundle(bundle), both);
});

test('weights lie in files that the manifest lists, and are hashed with them', async () => {
  const folder = await copyOfTiny();
  const [graph, weights] = ['text_encoder/model.onnx', 'text_encoder/weights.bin'];
  const place = join(folder, weights);
  await cp(join(folder, graph), place);
  const [first] = readGraphOutline(place).weights.filter(({ dataType }) => dataType === dataTypes.float32);
  assert.ok(first !== undefined);
  const values = new Float32Array(sizeOf(first.shape));
  // What a graph of changed weights refers to is the file that it was made of.
  const referring = changeWeights(place, [{ weight: first.name, terms: [{ values }] }]);
  await writeFile(join(folder, graph), referring);
  const unlisted = await relist(folder, graph);
  const message = /text_encoder\/model\.onnx .*has weights in "weights\.bin", which is none of the files beside it/;
  await rejects(openGraph(unlisted, 'textEncoder', { device: 'cpu' }), message);
  await rejects(verifyBundle(unlisted), message);
  const listed = await relist(folder, graph, weights);
  await (await openGraph(listed, 'textEncoder', { device: 'cpu' })).release();
  await verifyBundle(listed);
  const bytes = await readFile(place);
  await writeFile(place, bytes.with(bytes.length >> 1, 99));
  await rejects(openGraph(listed, 'textEncoder', { device: 'cpu' }), /weights\.bin has another SHA-256/);
});

test('the CPU opens a graph of its own where there is one, and other devices the usual one', async () => {
  const [usual, own] = ['vae_decoder/model.onnx', 'vae_decoder/model_int8.onnx'];
  const folder = await withManifest(['graphs.vaeDecoder.onCpu', () => own]);
  await rejects(readBundle(folder), /files: expected vae_decoder\/model_int8\.onnx among them/);
  await cp(join(folder, usual), join(folder, own));
  const { manifest } = await relist(folder, own);
  const onCpu = filesOn('cpu', manifest, 'vaeDecoder');
  const elsewhere = filesOn('webgpu', manifest, 'vaeDecoder');
  for (const [files, path] of [
    [onCpu, own],
    [elsewhere, usual],
  ] as const) {
    assert.deepEqual(files.opened, [path]);
    assert.deepEqual(
      files.read.map((file) => file.path),
      [path],
    );
  }

  // Only what is opened is hashed, so that a damaged graph of other devices does not show before all is verified.
  const bytes = await readFile(join(folder, usual));
  await writeFile(join(folder, usual), bytes.with(bytes.length >> 1, (bytes[bytes.length >> 1] ?? 0) ^ 1));
  const damaged = await readBundle(folder);
  await (await openGraph(damaged, 'vaeDecoder', { device: 'cpu' })).release();
  await rejects(verifyBundle(damaged), /vae_decoder\/model\.onnx has another SHA-256/);

  await cp(join(folder, 'vae_encoder/model.onnx'), join(folder, own));
  const unfit = await relist(folder, own, usual);
  await rejects(openGraph(unfit, 'vaeDecoder', { device: 'cpu' }), /vae_decoder\/model_int8\.onnx does not fit/);

  // Weights in the graph of other devices would be read without having been hashed.
  await writeFile(join(folder, usual), bytes);
  const [first] = readGraphOutline(join(folder, usual)).weights.filter(
    ({ dataType }) => dataType === dataTypes.float32,
  );
  assert.ok(first !== undefined);
  const changes = [{ weight: first.name, terms: [{ values: new Float32Array(sizeOf(first.shape)) }] }];
  await writeFile(join(folder, own), changeWeights(join(folder, usual), changes));
  const borrowing = await relist(folder, own, usual);
  await rejects(
    openGraph(borrowing, 'vaeDecoder', { device: 'cpu' }),
    /has weights in "model\.onnx", which is none of the files/,
  );

  for (const path of [usual, 'vae_encoder/model.onnx']) {
    const wrong = await withManifest(['graphs.vaeDecoder.onCpu', () => path]);
    await rejects(readBundle(wrong), /onCpu: expected another file in the folder of path/);
  }
});

test('the CPU opens the usual graph of a denoiser whose weights a LoRA changes', async () => {
  const [usual, own] = ['transformer/model.onnx', 'transformer/model_int8.onnx'];
  const folder = await withManifest(['graphs.denoiser.onCpu', () => own]);
  await cp(join(folder, 'vae_decoder/model.onnx'), join(folder, own));
  const bundle = await relist(folder, own);
  await rejects(openGraph(bundle, 'denoiser', { device: 'cpu' }), /transformer\/model_int8\.onnx does not fit/);
  const float = readGraphOutline(join(folder, usual)).weights.find(({ dataType }) => dataType === dataTypes.float32);
  assert.ok(float !== undefined);
  const changes = [{ weight: float.name, terms: [{ values: new Float32Array(sizeOf(float.shape)) }] }];
  await (await openGraph(bundle, 'denoiser', { device: 'cpu', changes })).release();
  assert.deepEqual(
    filesOn('cpu', bundle.manifest, 'denoiser', true).read.map(({ path }) => path),
    [usual],
  );
  const wrong = await withManifest(['graphs.denoiser.onCpu', () => usual]);
  await rejects(readBundle(wrong), /onCpu: expected another file in the folder of path/);
});

test('no link leads out of the folder', async () => {
  const folder = await copyOfTiny();
  await rm(join(folder, 'vae_encoder'), { recursive: true });
  await symlink(join(tiny, 'vae_encoder'), join(folder, 'vae_encoder'));
  await rejects(readBundle(folder), /vae_encoder\/model\.onnx .*leads out of its folder/);

  const within = await copyOfTiny();
  await cp(join(within, 'vae_encoder'), join(within, 'elsewhere'), { recursive: true });
  await rm(join(within, 'vae_encoder'), { recursive: true });
  await symlink('elsewhere', join(within, 'vae_encoder'));
  await verifyBundle(await readBundle(within));

  const linked = join(scratch, 'linked');
  await symlink(tiny, linked);
  await verifyBundle(await readBundle(linked));
});

test('the graphs of a bundle fit its manifest', async () => {
  const bundle = await readBundle(tiny);
  for (const graph of graphsOf(bundle.manifest)) {
    if (graphPath(bundle.manifest, graph) === undefined) continue;
    const session = await openGraph(bundle, graph, { device: 'cpu' });
    assert.ok(session.inputs.length > 0);
    await session.release();
  }
});

test('a graph that does not fit its manifest is refused, and what differs is named', async () => {
  const inputs = 'graphs.denoiser.inputs';
  const encoderStates = 'graphs.vaeEncoder.states';
  const decoderStates = 'graphs.vaeDecoder.states';
  const cases: [GraphName, ...Change, RegExp][] = [
    ['denoiser', inputs, (all: string[]) => all.toSpliced(1, 1), /unknown input prompt_mask\./],
    ['denoiser', 'graphs.denoiser.conditionMask', () => ['keep'], /condition_mask has shape .* instead of \[\*, 1,/],
    ['denoiser', 'latent', (latent: object) => ({ ...latent, channels: 8, rgb: undefined }), /input latents has shape/],
    ['vaeEncoder', encoderStates, (all: unknown[]) => [...all, all[0]], /lacks the input state_in_2/],
    ['vaeDecoder', decoderStates, (all: unknown[]) => all.slice(1), /unknown input state_in_1/],
    [
      'vaeDecoder',
      decoderStates,
      (all: unknown[]) => all.toReversed(),
      /state_in_0 has shape .* instead of \[\*, 8, 2,/,
    ],
    ['textEncoder', 'graphs.textEncoder.path', () => 'vae_encoder/model.onnx', /lacks the input input_ids, att/],
    ['vaeEncoder', 'graphs.vaeEncoder.path', () => 'tokenizer/tokenizer.json', /tokenizer\.json to be an ONNX/],
  ];
  for (const [graph, path, edit, part] of cases) {
    const bundle = await readBundle(await withManifest([path, edit]));
    await rejects(openGraph(bundle, graph, { device: 'cpu' }), part);
  }
});

test('parameters and bytes are counted graph by graph', async () => {
  const bundle = await readBundle(tiny);
  const sizes = inspectBundle(bundle);
  assert.deepEqual(
    sizes.map(({ graph, path }) => [graph, path]),
    graphsOf(bundle.manifest).flatMap((graph) => {
      const path = graphPath(bundle.manifest, graph);
      return path === undefined ? [] : [[graph, path]];
    }),
  );
  for (const { path, parameters, sizeBytes } of sizes) {
    assert.equal(sizeBytes, bundle.manifest.files.find((file) => file.path === path)?.sizeBytes);
    // Weights are float32, and the file holds them once beside its nodes.
    assert.ok(parameters > 1000 && parameters * 4 < sizeBytes, `${path}: ${parameters} parameters`);
  }
});
