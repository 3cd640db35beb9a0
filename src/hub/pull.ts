// A model from a hub into the cache: what its manifest lists and no more, in place only when all of it is there. Of a folder that
// optimum exported, which has no manifest: its graphs and their configuration.
import { readFile } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { z } from 'zod';
import { HubError } from '../errors.js';
import {
  clearBeginning,
  findPulled,
  linkBlob,
  manifestName,
  noteBeginning,
  optimumNames,
  repositoryFolder,
  snapshotFolder,
  writeRef,
} from './cache.js';
import { downloadBlob, type WantedFile } from './download.js';
import { parseJson } from './json.js';
import { digest, type Listing, listOf, readListing, type Sibling } from './listing.js';
import { parseRepository, type Repository } from './repository.js';
import { endpointUrl, type HubAccess } from './request.js';

/** Where a model comes from and where it goes. */
export interface PullOptions extends HubAccess {
  /** The folder that `models--org--name` lies in. */
  readonly cacheFolder: string;
  /** Asks no hub; what was pulled before is found. Default false. */
  readonly isOffline?: boolean | undefined;
  /** Told the bytes of the model that are there, and all that there are. */
  readonly onProgress?: ((progress: PullProgress) => void) | undefined;
}

export interface PullProgress {
  /** The file under way. */
  readonly path: string;
  readonly doneBytes: number;
  readonly totalBytes: number;
}

/** A model that is there, whole. */
export interface PulledModel extends Repository {
  readonly commit: string;
  /** Absolute path of its folder. */
  readonly path: string;
  readonly sizeBytes: number;
}

/** Far more than a model has, and than a manifest or an index takes. */
const mostFiles = 10_000;
const mostHeadMiB = 64;

/** In characters: no bundle has longer ones. */
const longestPath = 256;
/** A name that file systems take, and that leads nowhere else. */
const pathPart = '(?!\\.{1,2}(?:/|$))[\\w.-]{1,255}';

/** As much of a manifest as is needed to get its files; it is read in earnest when the model is loaded. */
const manifestSchema = z.object({
  files: listOf(
    z.object({
      path: z
        .string()
        .max(longestPath, { abort: true })
        .regex(new RegExp(`^${pathPart}(?:/${pathPart})*$`)),
      sizeBytes: z.int().min(0),
      sha256: digest(64),
    }),
    mostFiles,
  ),
});

type ManifestFile = z.output<typeof manifestSchema>['files'][number];
type Siblings = Listing['siblings'];

/**
 * Brings the model `org/name` or `org/name@revision` into the cache and returns where it is; what is there already and right is
 * not fetched again. Every byte is hashed on its way. Throws InvalidOptionError, HubError, OutputError and CancelledError; a
 * model that isn't whole can't be found.
 */
export async function pullModel(text: string, options: PullOptions): Promise<PulledModel> {
  const repository = parseRepository(text);
  const { name, revision } = repository;
  if (options.isOffline === true) {
    const isThere = (await findPulled(options.cacheFolder, repository)) !== undefined;
    throw new HubError(`Expected to be online to pull ${name}, but HF_HUB_OFFLINE is set.`, {
      hint: isThere ? `It was pulled before and can be used: --model ${text}.` : 'Unset it.',
    });
  }
  const folder = repositoryFolder(options.cacheFolder, name);
  const { commit, siblings } = await readListing(repository, options);
  const snapshot = snapshotFolder(folder, commit);
  const fetchFile = async ({ sibling, sha256 }: Wanted, onBytes: (bytes: number) => void) => {
    const blob = join(folder, 'blobs', sibling.lfs?.sha256 ?? sibling.blobId);
    await downloadBlob(wantedFile(repository, commit, sibling, sha256, options), blob, options, onBytes);
    return blob;
  };
  const head = { sibling: headOf(repository, siblings) };
  await noteBeginning(folder, commit);
  const headBlob = await fetchFile(head, () => {});
  const isBundle = head.sibling.rfilename === manifestName;
  const wanted = isBundle ? await listedFiles(headBlob, siblings, name) : optimumFiles(siblings, name);
  const totalBytes = wanted.reduce((sum, { sibling }) => sum + sibling.size, head.sibling.size);
  let doneBytes = head.sibling.size;
  for (const file of wanted) {
    const { rfilename: path, size } = file.sibling;
    const report = (bytes: number) => options.onProgress?.({ path, doneBytes: doneBytes + bytes, totalBytes });
    await linkBlob(await fetchFile(file, report), join(snapshot, path));
    doneBytes += size;
  }
  // Last, because it is what makes the folder a model.
  await linkBlob(headBlob, join(snapshot, head.sibling.rfilename));
  await clearBeginning(folder, commit);
  await writeRef(folder, revision, commit);
  return { ...repository, commit, path: snapshot, sizeBytes: totalBytes };
}

/** A file to bring, and its SHA-256 where a manifest has it. */
interface Wanted {
  readonly sibling: Sibling;
  readonly sha256?: string | undefined;
}

/** Returns the file that a model begins with: a bundle's manifest, or the index of a folder that optimum exported. */
function headOf(repository: Repository, siblings: Siblings): Sibling {
  const [index, denoiser] = optimumNames.map((path) => siblings.get(path));
  const head = siblings.get(manifestName) ?? (denoiser === undefined ? undefined : index);
  if (head === undefined) throw noBundle(repository, siblings);
  const { rfilename, size } = head;
  if (size <= mostHeadMiB * 2 ** 20) return head;
  throw new HubError(
    `Expected ${rfilename} of ${repository.name} to have at most ${mostHeadMiB} MiB, got ${size} bytes. Tell its author.`,
  );
}

/** Returns the graphs, their data and the configuration of a folder that optimum exported, less its index. */
function optimumFiles(siblings: Siblings, name: string): Wanted[] {
  const used = /^(?:\w[\w-]*\/)?\w[\w.-]*\.(?:onnx|onnx_data|json|txt|model)$/;
  const files = [...siblings.values()].filter(
    ({ rfilename }) => rfilename.length <= longestPath && used.test(rfilename) && rfilename !== optimumNames[0],
  );
  if (files.length <= mostFiles) return files.map((sibling) => ({ sibling }));
  throw new HubError(`Expected ${name} to have at most ${mostFiles} files, got ${files.length}. Tell its author.`);
}

async function listedFiles(blob: string, siblings: Siblings, name: string): Promise<Wanted[]> {
  const files = await readManifest(blob, name);
  checkPaths(files, name);
  return files.map((file) => ({ sibling: siblingOf(file, siblings, name), sha256: file.sha256 }));
}

/** Names of Windows' devices, whatever ending they have, and ends of names that it drops. */
const unwritable = /(?:^|\/)(?:(?:con|prn|aux|nul|com\d|lpt\d)(?:\.[^/]*)?|[^/]*\.)(?:\/|$)/i;

/** Throws HubError where no folder can hold all files of a manifest, and the manifest, on every system: some tell no capitals. */
function checkPaths(files: readonly ManifestFile[], name: string): void {
  const wrong = (what: string) => new HubError(`The ${manifestName} of ${name} lists ${what}. Tell its author.`);
  const taken = new Set<string>([manifestName]);
  const paths = files.map(({ path }) => path.toLowerCase());
  for (const path of paths) {
    if (unwritable.test(path)) throw wrong(`${path}, which Windows can't write`);
    if (taken.has(path)) throw wrong(path === manifestName ? 'itself' : `${path} twice`);
    taken.add(path);
  }
  for (const path of paths) {
    for (let folder = posix.dirname(path); folder !== '.'; folder = posix.dirname(folder)) {
      if (taken.has(folder)) throw wrong(`${path}, and ${folder} as a file`);
    }
  }
}

function wantedFile(
  { name }: Repository,
  commit: string,
  { rfilename, size, blobId, lfs }: Sibling,
  sha256: string | undefined,
  options: PullOptions,
): WantedFile {
  const path = rfilename.split('/').map(encodeURIComponent).join('/');
  return {
    url: endpointUrl(options, `${name}/resolve/${commit}/${path}`),
    path: rfilename,
    sizeBytes: size,
    sha256: lfs?.sha256 ?? sha256,
    // The blob of a large file is its pointer, and not what is fetched.
    gitSha1: lfs == null ? blobId : undefined,
  };
}

async function readManifest(blob: string, name: string): Promise<ManifestFile[]> {
  let json: unknown;
  try {
    json = parseJson(await readFile(blob));
  } catch (cause) {
    throw new HubError(`The ${manifestName} of ${name} can't be read. Tell its author.`, { cause });
  }
  const manifest = manifestSchema.safeParse(json);
  if (manifest.success) return manifest.data.files;
  const issue = manifest.error.issues[0];
  throw new HubError(
    `The ${manifestName} of ${name} is wrong at ${issue?.path.join('.')}: ${issue?.message}. Tell its author.`,
  );
}

/** Returns the file of the listing that the manifest means. Throws HubError when they don't agree. */
function siblingOf({ path, sizeBytes, sha256 }: ManifestFile, siblings: Siblings, name: string): Sibling {
  const sibling = siblings.get(path);
  if (sibling === undefined) throw new HubError(`${name} lacks ${path}, which its manifest lists. Tell its author.`);
  if (sibling.size === sizeBytes && (sibling.lfs?.sha256 ?? sha256) === sha256) return sibling;
  throw new HubError(`${path} of ${name} is another file than its manifest lists. Tell its author.`);
}

function noBundle({ name, revision }: Repository, siblings: Siblings): HubError {
  const isPipeline = siblings.has('model_index.json');
  const hint = isPipeline
    ? `It is a pipeline of PyTorch weights: download it, then run python -m export --pipeline FOLDER --out BUNDLE in models/ (docs/models.md).`
    : 'Bundles of reelspace are made from pipelines of diffusers: see docs/models.md.';
  return new HubError(
    `${name} at ${revision} holds no ${manifestName} and no graphs of optimum's, so it is no model for reelspace.`,
    { hint },
  );
}
