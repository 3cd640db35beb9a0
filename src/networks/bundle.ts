// Reads a bundle, the folder that holds everything about a model, and checks it before anything is loaded from it.
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir, readFile, realpath, stat } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join, posix, relative, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { BundleError, expected } from '../errors.js';
import { isShallow } from '../tensor/json-text.js';
import { bundleFiles, graphFiles, graphsOf, openedFiles, tokenizerFolders } from './bundle-layout.js';
import { type BundleFile, type Manifest, manifestFormatVersion, manifestSchema } from './manifest.js';
import { manifestProblem } from './manifest-rules.js';
import { type OptimumLayout, optimumFiles, readOptimumFolder } from './optimum-folder.js';
import { assertWeightsListed } from './weight-files.js';

/** A folder of a model whose manifest is in order and whose files are all there. */
export interface Bundle {
  /** Absolute path of the folder. */
  readonly path: string;
  readonly manifest: Manifest;
  /** Content of scheduler/scheduler_config.json. */
  readonly schedulerConfig: Readonly<Record<string, unknown>>;
  /** How the graphs' tensors are laid out, where they are optimum's and not a bundle's. */
  readonly optimum?: OptimumLayout | undefined;
}

/** A bundle that comes with reelspace. */
export interface ModelListing {
  readonly name: string;
  readonly summary: string;
  /** Absolute path of the folder. */
  readonly path: string;
}

/** The package's models folder, seen from dist/src/networks. */
const modelsFolder = fileURLToPath(new URL('../../../models/', import.meta.url));
/** Vocabularies of 256,000 pieces take some 20 MB. */
const tokenizerLimitBytes = 64 * 2 ** 20;
/** Of the manifest and of configs, which take some 10 kB. */
const configLimitBytes = 2 ** 20;
/** Tokenizers of transformers have some 10. */
const jsonLevels = 64;
const hashChunkBytes = 2 ** 20;

/**
 * Returns the bundle of that name among the bundled models, or in that folder when the text has a slash or starts with
 * a dot. Every file has been found at its size; all but the graphs' have been hashed, and those are when they are opened.
 * A folder that optimum exported has a manifest made for it, and no hashes. Throws BundleError.
 */
export async function readBundle(nameOrPath: string): Promise<Bundle> {
  const path = await findFolder(nameOrPath);
  if (!(await hasManifest(path))) return readExported(path);
  const manifest = parseManifest(await readBundleJson(path, bundleFiles.manifest), join(path, bundleFiles.manifest));
  for (const file of manifest.files) {
    const { size } = await statInside(path, file.path);
    if (size !== file.sizeBytes) throw altered(path, [`${file.path} has ${size} bytes instead of ${file.sizeBytes}`]);
  }
  const ofGraphs = new Set(graphsOf(manifest).flatMap((graph) => graphFiles(manifest, graph)));
  await verifyFiles(
    path,
    manifest.files.filter((file) => !ofGraphs.has(file)),
  );
  return { path, manifest, schedulerConfig: await readSchedulerConfig(path) };
}

async function readExported(path: string): Promise<Bundle> {
  const read = {
    json: (file: string) => readBundleJson(path, file),
    sizeBytes: async (file: string) => (await statInside(path, file)).size,
  };
  const { manifest, layout } = await readOptimumFolder(path, read);
  return { path, manifest, schedulerConfig: await readSchedulerConfig(path), optimum: layout };
}

/** Returns once every file of a bundle has been hashed. Throws BundleError that names all whose SHA-256 is another, or a file with weights
 * that has none. */
export async function verifyBundle({ path, manifest }: Bundle): Promise<void> {
  if (manifest.files.some(({ sha256 }) => sha256 === undefined)) {
    throw new BundleError(
      `Expected ${path} to be a bundle with the hashes of its files, but it has no ${bundleFiles.manifest}. ` +
        'Compare it with where it comes from.',
    );
  }
  await verifyFiles(path, manifest.files);
  for (const graph of graphsOf(manifest))
    assertWeightsListed(path, openedFiles(manifest, graph), graphFiles(manifest, graph));
}

/**
 * Returns once these files have been hashed, but for those that came without. Throws BundleError that names all whose SHA-256 is another. Takes about
 * 2.5 s per GB, in pieces between which the event loop turns.
 */
export async function verifyFiles(folder: string, files: readonly BundleFile[]): Promise<void> {
  const problems: string[] = [];
  for (const file of files) {
    await statInside(folder, file.path);
    if (file.sha256 === undefined) continue;
    const hash = createHash('sha256');
    await pipeline(createReadStream(join(folder, file.path), { highWaterMark: hashChunkBytes }), hash);
    if (hash.digest('hex') !== file.sha256) problems.push(`${file.path} has another SHA-256`);
  }
  if (problems.length > 0) throw altered(folder, problems);
}

/** Returns the bundled models, by name. Folders that hold no manifest are no models. */
export async function listModels(): Promise<ModelListing[]> {
  const listings: ModelListing[] = [];
  const entries = await readdir(modelsFolder, { withFileTypes: true });
  for (const { name } of entries.toSorted((a, b) => a.name.localeCompare(b.name, 'en'))) {
    const path = join(modelsFolder, name);
    const isModel = (await statOrUndefined(join(path, bundleFiles.manifest)))?.isFile() ?? false;
    if (!isModel) continue;
    const manifest = parseManifest(await readBundleJson(path, bundleFiles.manifest), join(path, bundleFiles.manifest));
    listings.push({ name, summary: manifest.summary, path });
  }
  return listings;
}

async function findFolder(nameOrPath: string): Promise<string> {
  const isPath = /[/\\]|^\./.test(nameOrPath) || nameOrPath === '';
  const folder = isPath ? resolve(nameOrPath) : join(modelsFolder, nameOrPath);
  const isFolder = nameOrPath !== '' && ((await statOrUndefined(folder))?.isDirectory() ?? false);
  if (isFolder && ((await hasManifest(folder)) || (await isExported(folder)))) return folder;
  if (isFolder && isPath) throw new BundleError(await describeMissing(folder, nameOrPath));
  const names = (await listModels()).map(({ name }) => name).join(', ');
  const known = names === '' ? 'No model is bundled' : `Bundled models: ${names}`;
  throw new BundleError(
    isPath
      ? expected('model', 'a bundled model or a folder that exists', nameOrPath, `${known}.`)
      : expected(
          'model',
          'the name of a bundled model',
          nameOrPath,
          `${known}. To load a folder, write ./${nameOrPath}.`,
        ),
  );
}

async function hasManifest(folder: string): Promise<boolean> {
  return (await statOrUndefined(join(folder, bundleFiles.manifest))) !== undefined;
}

/** Returns whether it is a folder that optimum exported. */
async function isExported(folder: string): Promise<boolean> {
  const places = await Promise.all(
    [optimumFiles.index, optimumFiles.denoiser].map((path) => statOrUndefined(join(folder, path))),
  );
  return places.every((stats) => stats !== undefined);
}

async function describeMissing(folder: string, name: string): Promise<string> {
  const isPipeline = (await statOrUndefined(join(folder, optimumFiles.index))) !== undefined;
  const advice = isPipeline
    ? `It is a pipeline of diffusers. Export it: python -m export --pipeline ${folder} --out FOLDER, in models/.`
    : undefined;
  const rule = `one with a ${bundleFiles.manifest}, or with ${optimumFiles.index} and ${optimumFiles.denoiser} as optimum exports it`;
  return expected('model folder', rule, name, advice);
}

function parseManifest(json: Record<string, unknown>, path: string): Manifest {
  const { formatVersion } = json;
  if (typeof formatVersion === 'number' && formatVersion > manifestFormatVersion) {
    throw new BundleError(
      `${path} has formatVersion ${formatVersion}, and this version of reelspace reads up to ${manifestFormatVersion}. ` +
        'Update reelspace.',
    );
  }
  const result = manifestSchema.safeParse(json);
  const issue = result.success ? undefined : result.error.issues[0];
  const problem = result.success
    ? manifestProblem(result.data)
    : `${issue?.path.join('.') ?? 'the whole'}: ${issue?.message ?? 'unreadable'}`;
  if (problem !== undefined || !result.success) {
    throw new BundleError(`${path} breaks the bundle format at ${problem}. Export the bundle again.`);
  }
  return result.data;
}

/** Returns a JSON object that lies in the bundle's folder. Throws BundleError when it is missing or no such thing. */
export async function readBundleJson(folder: string, path: string): Promise<Record<string, unknown>> {
  return parseObject(await readBundleText(folder, path), join(folder, path));
}

/** Returns scheduler_config.json, where the bare -Infinity that Python writes is read as null: of `lambda_min_clipped` both say the same. */
async function readSchedulerConfig(folder: string): Promise<Record<string, unknown>> {
  const text = await readBundleText(folder, bundleFiles.schedulerConfig);
  // What lies in quotes is matched so as to stay, and a text without its end is gone through once.
  const json = text.replace(/"[^"\\]*(?:\\.?[^"\\]*)*"?|-Infinity\b/gs, (part) =>
    part === '-Infinity' ? 'null' : part,
  );
  return parseObject(json, join(folder, bundleFiles.schedulerConfig));
}

function parseObject(text: string, place: string): Record<string, unknown> {
  if (!isShallow(text, jsonLevels)) {
    throw new BundleError(
      `Expected ${place} to be JSON of at most ${jsonLevels} levels, and two million lists and objects. Get the bundle again.`,
    );
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new BundleError(`Expected ${place} to be JSON, but it can't be read as that. Get the bundle again.`, {
      cause,
    });
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new BundleError(expected(place, 'a JSON object', json));
  }
  return json as Record<string, unknown>;
}

/** Returns a text file that lies in the bundle's folder. Throws BundleError when it is missing or too large. */
export async function readBundleText(folder: string, path: string): Promise<string> {
  const { size } = await statInside(folder, path);
  const place = join(folder, path);
  const isTokenizer = Object.values<string>(tokenizerFolders).includes(posix.dirname(path));
  const most = isTokenizer ? tokenizerLimitBytes : configLimitBytes;
  if (size > most) throw new BundleError(expected(place, `at most ${most} bytes`, size));
  return readFile(place, 'utf8');
}

/** Returns the size of a regular file that lies in the folder, also once links are followed. Throws BundleError. */
async function statInside(folder: string, path: string): Promise<{ size: number }> {
  const place = join(folder, path);
  const stats = await statOrUndefined(place);
  if (stats === undefined) throw new BundleError(`The bundle ${folder} lacks ${path}. Get the bundle again.`);
  if (!stats.isFile()) throw new BundleError(`Expected ${place} to be a file. Get the bundle again.`);
  const inside = relative(await realpath(linksRoot(folder)), await realpath(place));
  if (inside.startsWith('..') || isAbsolute(inside)) {
    throw new BundleError(`${path} of the bundle ${folder} leads out of its folder. Put the file itself there.`);
  }
  return { size: stats.size };
}

/** Returns the folder that links may lead about in: the bundle's own, or all of a repository in a hub's cache, where each file of
 * `models--org--name/snapshots/<commit>` is a link into `blobs`. */
function linksRoot(folder: string): string {
  const snapshots = dirname(folder);
  const repository = dirname(snapshots);
  return basename(snapshots) === 'snapshots' && basename(repository).startsWith('models--') ? repository : folder;
}

async function statOrUndefined(path: string) {
  try {
    return await stat(path);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'ENAMETOOLONG' || code === 'ERR_INVALID_ARG_VALUE') {
      return undefined;
    }
    throw new BundleError(`Can't read ${path}: ${(error as Error).message}.`, { cause: error });
  }
}

function altered(path: string, problems: readonly string[]): BundleError {
  return new BundleError(`The bundle ${path} was altered or cut short: ${problems.join('; ')}. Get it again.`);
}
