// One file from a hub into its blob: gone on with where it stopped, hashed while it streams, in its place only when whole.
import { createHash, type Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { hostname } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { CancelledError, HubError, throwIfCancelled } from '../errors.js';
import { changing, isFileError } from './file-failure.js';
import { get, type HubAccess, reasonOf, Transient, withRetries } from './request.js';

/** What a file must come to. */
export interface WantedFile {
  readonly url: URL;
  /** For messages. */
  readonly path: string;
  readonly sizeBytes: number;
  /** In hexadecimal: the SHA-256 of the content, where it is known. */
  readonly sha256?: string | undefined;
  /** In hexadecimal: git's SHA-1 of the content with its header, where it is known. */
  readonly gitSha1?: string | undefined;
}

/** Part files that this process writes at the moment. */
const active = new Set<string>();
let started = 0;

/**
 * Brings a file into `blob`, unless it is there and right. Part files are named after who writes them, so that two processes never
 * write the same one; those of processes that are gone are gone on with. `onBytes` is told the bytes that are there so far.
 * Throws HubError, OutputError and CancelledError; what was received stays for the next time, unless it was wrong.
 */
export async function downloadBlob(
  wanted: WantedFile,
  blob: string,
  access: HubAccess,
  onBytes: (bytes: number) => void,
): Promise<void> {
  await changing(blob, async () => {
    const there = await stat(blob).catch(() => undefined);
    // A disk may have changed it since, and whoever finds the model altered is told to pull it again.
    if (there?.size === wanted.sizeBytes && (await isRight(blob, wanted, access, onBytes))) return;
    await mkdir(dirname(blob), { recursive: true });
    const place = ownPart(blob);
    active.add(place);
    try {
      await takeOver(blob, place);
      const part = await PartFile.open(place, wanted);
      try {
        await fill(part, wanted, access, onBytes);
      } finally {
        await part.close();
        if (wanted.sizeBytes > 0 && (await stat(place)).size === 0) await rm(place);
      }
      await rename(place, blob);
    } finally {
      active.delete(place);
    }
  });
}

const host = hostname().replace(/[^\w-]/g, '_');

/** Returns the name of a new part file of our own. */
function ownPart(blob: string): string {
  return `${blob}.${host}-${process.pid}-${++started}.incomplete`;
}

/** Gives a part file that nobody writes any more, if there is one, the name of our own. */
async function takeOver(blob: string, own: string): Promise<void> {
  const folder = dirname(blob);
  for (const name of await readdir(folder)) {
    const [, owner, id] = /\.([\w-]+)-(\d+)-\d+\.incomplete$/.exec(name) ?? [];
    const place = join(folder, name);
    if (!name.startsWith(`${basename(blob)}.`) || owner !== host || active.has(place) || isAlive(Number(id))) continue;
    // Another process may be as quick; one of the two gets it.
    const isOurs = await rename(place, own).then(
      () => true,
      () => false,
    );
    if (isOurs) return;
  }
}

/** Returns whether a process may still write its part files; those of our own that are written are known. */
function isAlive(id: number): boolean {
  if (id === process.pid) return false;
  try {
    process.kill(id, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Receives and checks the whole of a file. */
async function fill(
  part: PartFile,
  wanted: WantedFile,
  access: HubAccess,
  onBytes: (bytes: number) => void,
): Promise<void> {
  await withRetries(access, async () => {
    await receive(part, wanted, access, onBytes);
    if (part.isRight()) return;
    const { isResumed } = part;
    await part.restart();
    // What an earlier run left may be what is wrong.
    if (isResumed) throw new Transient(`${wanted.path} was left half-way with other bytes`, { waitMs: 0 });
    throw new HubError(
      `${wanted.path} came with another hash than the hub says it has. Pull again; if it stays so, tell its author.`,
    );
  });
  await part.sync();
}

/** Receives what is still missing. Throws Transient when the connection breaks first. */
async function receive(
  part: PartFile,
  { url, path, sizeBytes }: WantedFile,
  access: HubAccess,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const wantedStart = part.bytes;
  if (wantedStart === sizeBytes) return;
  const response = await get(url, access, wantedStart === 0 ? {} : { range: `bytes=${wantedStart}-` });
  if (wantedStart > 0 && !continues(response, wantedStart, sizeBytes)) {
    await part.restart();
    if (response.status !== 200) {
      await response.body?.cancel();
      throw new Transient(`${url.origin} did not go on with ${path} at byte ${wantedStart}`, { waitMs: 0 });
    }
  } else if (wantedStart === 0 && response.status !== 200) {
    await response.body?.cancel();
    throw new HubError(
      `${url.origin} answered ${response.status} when asked for the whole of ${path}. Check the endpoint.`,
    );
  }
  const start = part.bytes;
  const { furthest } = part;
  const length = response.headers.get('content-length');
  if (length !== null && start + Number(length) !== sizeBytes) {
    await response.body?.cancel();
    throw wrongSize(path, start + Number(length), sizeBytes);
  }
  try {
    for await (const chunk of response.body ?? []) {
      if (part.bytes + chunk.length > sizeBytes) throw wrongSize(path, `more than ${sizeBytes}`, sizeBytes);
      await part.append(chunk);
      onBytes(part.bytes);
    }
  } catch (error) {
    if (error instanceof HubError || isFileError(error)) throw error;
    throw brokenOff(path, part.bytes, furthest, reasonOf(error));
  }
  if (part.bytes < sizeBytes) throw brokenOff(path, part.bytes, furthest, 'the connection was closed');
}

/** Returns whether an answer goes on at that byte of a file of that size. */
function continues({ status, headers }: Response, start: number, sizeBytes: number): boolean {
  const [, from, total] = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(headers.get('content-range') ?? '') ?? [];
  return status === 206 && Number(from) === start && (total === '*' || Number(total) === sizeBytes);
}

function wrongSize(path: string, bytes: number | string, wanted: number): HubError {
  return new HubError(
    `${path} has ${bytes} bytes where the hub lists ${wanted}. Pull again; if it stays so, tell its author.`,
  );
}

/** Only what is further than ever is progress: else a hub that always breaks off and never goes on would be asked for ever. */
function brokenOff(path: string, bytes: number, furthest: number, reason: string): Transient {
  return new Transient(`${path} broke off after ${bytes} bytes: ${reason}`, { isProgress: bytes > furthest });
}

/** Returns whether a file of the right size can be read and has every hash that is known of it. Throws CancelledError. */
async function isRight(
  path: string,
  wanted: WantedFile,
  { signal }: HubAccess,
  onBytes: (bytes: number) => void,
): Promise<boolean> {
  const hashes = new ContentHashes(wanted);
  let bytes = 0;
  try {
    for await (const chunk of createReadStream(path)) {
      throwIfCancelled(signal);
      hashes.update(chunk);
      bytes += chunk.length;
      onBytes(bytes);
    }
  } catch (error) {
    if (error instanceof CancelledError) throw error;
    return false;
  }
  throwIfCancelled(signal);
  return hashes.areRight();
}

/** The hashes of a file, of content that comes in pieces. */
class ContentHashes {
  readonly #wanted: WantedFile;
  readonly #ofContent = createHash('sha256');
  readonly #ofBlob: Hash;

  constructor(wanted: WantedFile) {
    this.#wanted = wanted;
    // A git blob is hashed with its kind and length in front (git-hash-object).
    this.#ofBlob = createHash('sha1').update(`blob ${wanted.sizeBytes}\0`);
  }

  update(chunk: Uint8Array): void {
    this.#ofContent.update(chunk);
    this.#ofBlob.update(chunk);
  }

  /** Returns whether the content has every hash that is known of it. Asked once, when all is there. */
  areRight(): boolean {
    const { sha256, gitSha1 } = this.#wanted;
    const [ofContent, ofBlob] = [this.#ofContent, this.#ofBlob].map((hash) => hash.digest('hex'));
    return (sha256 === undefined || sha256 === ofContent) && (gitSha1 === undefined || gitSha1 === ofBlob);
  }
}

/** A file that grows, with the hashes of what is in it. */
class PartFile {
  /** Bytes that are in it. */
  bytes = 0;
  /** The most bytes that were ever in it. */
  furthest = 0;
  /** Whether some of them are from an earlier run. */
  isResumed = false;
  readonly #file: FileHandle;
  readonly #wanted: WantedFile;
  #hashes: ContentHashes;

  private constructor(file: FileHandle, wanted: WantedFile) {
    this.#file = file;
    this.#wanted = wanted;
    this.#hashes = new ContentHashes(wanted);
  }

  static async open(path: string, wanted: WantedFile): Promise<PartFile> {
    const part = new PartFile(await open(path, 'a'), wanted);
    try {
      await part.#takeOver(path);
      return part;
    } catch (error) {
      await part.close();
      throw error;
    }
  }

  async append(chunk: Uint8Array): Promise<void> {
    await this.#file.writeFile(chunk);
    this.#count(chunk);
  }

  async restart(): Promise<void> {
    await this.#file.truncate(0);
    this.bytes = 0;
    this.isResumed = false;
    this.#hashes = new ContentHashes(this.#wanted);
  }

  /** Returns whether the content is right. Asked once, when all is there. */
  isRight(): boolean {
    return this.#hashes.areRight();
  }

  async sync(): Promise<void> {
    await this.#file.sync();
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  async #takeOver(path: string): Promise<void> {
    const { size } = await this.#file.stat();
    if (size > this.#wanted.sizeBytes) return this.restart();
    for await (const chunk of createReadStream(path)) this.#count(chunk);
    this.isResumed = this.bytes > 0;
  }

  #count(chunk: Uint8Array): void {
    this.bytes += chunk.length;
    this.furthest = Math.max(this.furthest, this.bytes);
    this.#hashes.update(chunk);
  }
}
