// What a hub says that a repository holds, checked before anything is done with it.
import { z } from 'zod';
import { HubError } from '../errors.js';
import { isCommit } from './cache.js';
import type { Repository } from './repository.js';
import { endpointUrl, getJson, type HubAccess } from './request.js';

/** Hugging Face asks for fewer in a repository. */
const mostSiblings = 100_000;

/** A hash in hexadecimal, of that many digits. */
export const digest = (length: number) => z.string().regex(new RegExp(`^[0-9a-f]{${length}}$`));

/** A list that is counted before its items are looked at: of millions that are wrong each would be told. */
export function listOf<T extends z.ZodType>(item: T, most: number) {
  const isShort = (value: unknown) => Array.isArray(value) && value.length <= most;
  return z.custom<unknown[]>(isShort, `Expected a list of at most ${most}`).pipe(z.array(item));
}

const siblingSchema = z.object({
  rfilename: z.string(),
  size: z.int().min(0),
  blobId: digest(40),
  lfs: z.object({ sha256: digest(64) }).nullish(),
});

/** What the hub's API says of a model (huggingface.co/docs/hub/api, `?blobs=true`). */
const listingSchema = z.object({ sha: digest(40), siblings: listOf(siblingSchema, mostSiblings) });

/** A file of a repository. */
export type Sibling = z.output<typeof siblingSchema>;

/** The files of a repository at a commit. */
export interface Listing {
  readonly commit: string;
  /** By their paths. */
  readonly siblings: ReadonlyMap<string, Sibling>;
}

/** Returns what a repository holds at its revision. Throws HubError, InvalidOptionError and CancelledError. */
export async function readListing({ name, revision }: Repository, access: HubAccess): Promise<Listing> {
  const url = endpointUrl(access, `api/models/${name}/revision/${encodeURIComponent(revision)}?blobs=true`);
  const listing = listingSchema.safeParse(await getJson(url, access));
  if (!listing.success) {
    const issue = listing.error.issues[0];
    throw new HubError(
      `Expected ${url.origin} to list the files of ${name}, got an answer that is wrong at ${issue?.path.join('.')}: ${issue?.message}. Check the endpoint.`,
    );
  }
  const { sha: commit } = listing.data;
  // Another one would be stored under its own name, and the model that was asked for never be found.
  if (isCommit(revision) && commit !== revision) {
    throw new HubError(`Expected ${url.origin} to list ${name} at ${revision}, got ${commit}. Check the endpoint.`);
  }
  const siblings = new Map(listing.data.siblings.map((sibling) => [sibling.rfilename, sibling]));
  if (siblings.size < listing.data.siblings.length) {
    throw new HubError(`Expected ${url.origin} to list each file of ${name} once, got some twice. Check the endpoint.`);
  }
  return { commit, siblings };
}
