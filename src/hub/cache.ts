// The folder that pulled models lie in, laid out as huggingface_hub does it, so that both find what the other has brought:
// models--org--name/blobs/<hash>, snapshots/<commit>/<path> (links to blobs), refs/<revision> (a commit). While we pull, there is
// .<commit>.begun beside them.
import { randomBytes } from 'node:crypto';
import { copyFile, mkdir, readdir, readFile, realpath, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { basename, dirname, join, posix, relative, sep } from 'node:path';
import { BundleError } from '../errors.js';
import { changing } from './file-failure.js';
import type { Repository } from './repository.js';

/** The file that makes a snapshot a bundle. */
export const manifestName = 'reelspace.json';
/** The files that make it a folder that optimum exported; the first one is linked last. */
export const optimumNames = ['model_index.json', 'unet/model.onnx'] as const;

const commitHash = /^[0-9a-f]{40}$/;
const folderPrefix = 'models--';

/** A model that was pulled. */
export interface PulledListing extends Repository {
  /** Absolute path of the folder. */
  readonly path: string;
}

/** Returns the folder of a repository, there or not. */
export function repositoryFolder(cacheFolder: string, name: string): string {
  return join(cacheFolder, `${folderPrefix}${name.replace('/', '--')}`);
}

/** Returns the folder of a revision's files, there or not. */
export function snapshotFolder(repository: string, commit: string): string {
  return join(repository, 'snapshots', commit);
}

/** Returns whether a text is the name of a commit. */
export function isCommit(text: string): boolean {
  return commitHash.test(text);
}

/** Returns the folder of a model that was pulled, or undefined. */
export async function findPulled(cacheFolder: string, { name, revision }: Repository): Promise<string | undefined> {
  const folder = repositoryFolder(cacheFolder, name);
  const commit = isCommit(revision) ? revision : await readRef(folder, revision);
  if (commit === undefined) return undefined;
  const snapshot = snapshotFolder(folder, commit);
  return (await isModel(snapshot)) ? snapshot : undefined;
}

/** Returns the models that were pulled, one for each revision that has a name, by name. */
export async function listPulled(cacheFolder: string): Promise<PulledListing[]> {
  const listings: PulledListing[] = [];
  for (const entry of await namesIn(cacheFolder)) {
    const [organisation, ...rest] = entry.slice(folderPrefix.length).split('--');
    if (!entry.startsWith(folderPrefix) || rest.length === 0) continue;
    const name = `${organisation}/${rest.join('--')}`;
    const refs = join(cacheFolder, entry, 'refs');
    for (const ref of await namesIn(refs, true)) {
      const revision = ref.split(sep).join(posix.sep);
      const path = await findPulled(cacheFolder, { name, revision });
      if (path !== undefined) listings.push({ name, revision, path });
    }
  }
  return listings;
}

/**
 * Removes all that is there of a pulled model, or of one whose pull was not finished. Throws OutputError, and BundleError when
 * there is none, or files that are no model of ours.
 */
export async function removePulled(cacheFolder: string, name: string): Promise<void> {
  const folder = repositoryFolder(cacheFolder, name);
  if (!(await exists(folder))) {
    throw new BundleError(`There is no model ${name} in ${cacheFolder}. See reelspace models for what is there.`);
  }
  const snapshots = await namesIn(join(folder, 'snapshots'));
  const areModels = await Promise.all(snapshots.map((commit) => isModel(snapshotFolder(folder, commit))));
  const areBegun = await Promise.all(snapshots.map((commit) => exists(beginningNote(folder, commit))));
  if (!areModels.includes(true) && areBegun.includes(false)) {
    throw new BundleError(
      `${folder} holds no reelspace model; another program brought it. Remove it there if you want it gone.`,
    );
  }
  await changing(folder, async () => {
    // Under another name at once, so that nothing finds half of it.
    const doomed = join(cacheFolder, temporaryName());
    await rename(folder, doomed);
    await rm(doomed, { recursive: true, force: true });
    await rm(join(cacheFolder, '.locks', basename(folder)), { recursive: true, force: true });
  });
}

/**
 * Notes that a pull begins a snapshot, unless there is one, which may be another program's. huggingface_hub looks at nothing
 * in a repository's folder but blobs, snapshots and refs. Throws OutputError.
 */
export async function noteBeginning(folder: string, commit: string): Promise<void> {
  if (await exists(snapshotFolder(folder, commit))) return;
  const place = beginningNote(folder, commit);
  await changing(place, async () => {
    await mkdir(folder, { recursive: true });
    await writeFile(place, '');
  });
}

/** Takes the note away, if there is one. Throws OutputError. */
export async function clearBeginning(folder: string, commit: string): Promise<void> {
  const place = beginningNote(folder, commit);
  await changing(place, () => rm(place, { force: true }));
}

function beginningNote(folder: string, commit: string): string {
  return join(folder, `.${commit}.begun`);
}

/** Puts a blob under its path into a snapshot: as a relative link, or as a copy where the system makes none. Throws OutputError. */
export async function linkBlob(blob: string, place: string): Promise<void> {
  await changing(place, async () => {
    await mkdir(dirname(place), { recursive: true });
    if (await isSame(blob, place)) return;
    const temporary = join(dirname(place), temporaryName());
    try {
      await symlink(relative(dirname(place), blob), temporary);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'EPERM' && code !== 'ENOSYS' && code !== 'ENOTSUP') throw error;
      await copyFile(blob, temporary);
    }
    await rename(temporary, place);
  });
}

/** Returns whether both lead to one file. A copy may be another one by now, and is made anew. */
async function isSame(blob: string, place: string): Promise<boolean> {
  const [one, other] = await Promise.all([blob, place].map((path) => realpath(path).catch(() => undefined)));
  return one !== undefined && one === other;
}

/** Notes which commit a revision stands for. Throws OutputError. */
export async function writeRef(folder: string, revision: string, commit: string): Promise<void> {
  if (isCommit(revision)) return;
  const place = join(folder, 'refs', revision);
  await changing(place, async () => {
    await mkdir(dirname(place), { recursive: true });
    const temporary = join(folder, temporaryName());
    try {
      await writeFile(temporary, commit);
      await rename(temporary, place);
    } finally {
      await rm(temporary, { force: true });
    }
  });
}

/** Returns a name for what is not yet, or no more, to be found. */
function temporaryName(): string {
  return `.${randomBytes(6).toString('hex')}.tmp`;
}

/** Returns whether a snapshot is a model that can be loaded, whoever brought it. */
async function isModel(snapshot: string): Promise<boolean> {
  if (await exists(join(snapshot, manifestName))) return true;
  const found = await Promise.all(optimumNames.map((name) => exists(join(snapshot, name))));
  return !found.includes(false);
}

async function readRef(folder: string, revision: string): Promise<string | undefined> {
  const text = await readFile(join(folder, 'refs', revision), 'utf8').catch(() => undefined);
  return text !== undefined && isCommit(text.trim()) ? text.trim() : undefined;
}

async function namesIn(folder: string, recursive = false): Promise<string[]> {
  const names = await readdir(folder, { recursive, encoding: 'utf8' }).catch(() => []);
  return names.sort();
}

/** Returns whether there is something at that place once links are followed. */
export async function exists(place: string): Promise<boolean> {
  return stat(place).then(
    () => true,
    () => false,
  );
}
