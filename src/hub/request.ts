// One request to a hub: redirects followed with care, failures told apart, those that may pass tried again.
import { setTimeout as sleep } from 'node:timers/promises';
import { expected, HubError, InvalidOptionError, throwIfCancelled } from '../errors.js';
import { parseJson } from './json.js';

/** How a hub is reached. */
export interface HubAccess {
  /** Such as `https://huggingface.co`. */
  readonly endpoint: string;
  /** Sent to the endpoint's own host and to no other. */
  readonly token?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Told what went wrong and how long it is waited before the next try. */
  readonly onRetry?: ((reason: string, waitMs: number) => void) | undefined;
  /** How it is waited between tries. Default: that long. */
  readonly wait?: ((waitMs: number, signal?: AbortSignal) => Promise<void>) | undefined;
}

/** A failure that may pass. `isProgress` says that something was received first, so that tries are counted anew. */
export class Transient extends Error {
  readonly waitMs: number | undefined;
  readonly isProgress: boolean;

  constructor(message: string, details: { waitMs?: number | undefined; isProgress?: boolean; cause?: unknown } = {}) {
    super(message, { cause: details.cause });
    this.waitMs = details.waitMs;
    this.isProgress = details.isProgress ?? false;
  }
}

const mostRedirects = 10;
const mostTries = 5;
const firstWaitMs = 1000;
/** Hubs that ask for more patience than this are told of instead. */
const longestWaitMs = 5 * 60_000;
/** Far beyond the listing of any model. */
const mostJsonMiB = 16;
/** Of a hub's own words, which may be any, in characters. */
const mostShown = 200;

/** Returns what the work resolves to, tried again with growing pauses while it throws Transient. Throws HubError when it stays so. */
export async function withRetries<T>(access: HubAccess, work: () => Promise<T>): Promise<T> {
  for (let failures = 0; ; ) {
    throwIfCancelled(access.signal);
    try {
      return await work();
    } catch (error) {
      throwIfCancelled(access.signal);
      if (!(error instanceof Transient)) throw error;
      failures = error.isProgress ? 1 : failures + 1;
      const waitMs = error.waitMs ?? firstWaitMs * 2 ** (failures - 1);
      if (failures >= mostTries) throw new HubError(`${error.message} (tried ${failures} times)`, { cause: error });
      if (waitMs > longestWaitMs) {
        throw new HubError(`${error.message}, and asks to wait ${Math.ceil(waitMs / 1000)} s`, { cause: error });
      }
      access.onRetry?.(error.message, waitMs);
      await pause(access, waitMs);
    }
  }
}

async function pause({ wait, signal }: HubAccess, waitMs: number): Promise<void> {
  try {
    await (wait === undefined ? sleep(waitMs, undefined, { signal }) : wait(waitMs, signal));
  } catch (error) {
    throwIfCancelled(signal);
    throw error;
  }
}

/** Returns the URL of a path below the endpoint. Throws InvalidOptionError when the endpoint is no http address. */
export function endpointUrl({ endpoint }: HubAccess, path: string): URL {
  const base = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  if (base === undefined || !/^https?:$/.test(base.protocol)) {
    throw new InvalidOptionError(expected('hub endpoint', 'an http or https address', endpoint));
  }
  return new URL(`${base.origin}${base.pathname.replace(/\/+$/, '')}/${path}`);
}

/**
 * Returns the answer to a GET, of status 200, 206 or 416, redirects followed. The token goes to the endpoint's own host
 * alone, and neither to another scheme or port of it. Throws Transient, and HubError for what won't pass.
 */
export async function get(url: URL, access: HubAccess, headers: Readonly<Record<string, string>>): Promise<Response> {
  const { origin } = endpointUrl(access, '');
  let place = url;
  for (let redirects = 0; redirects <= mostRedirects; redirects++) {
    const response = await send(place, access, {
      ...headers,
      'accept-encoding': 'identity',
      'user-agent': 'reelspace',
      ...(access.token !== undefined && place.origin === origin ? { authorization: `Bearer ${access.token}` } : {}),
    });
    if (response.status < 300 || response.status > 399) return accepted(response, url);
    await response.body?.cancel();
    place = redirected(place, response.headers.get('location'));
  }
  throw new HubError(`Expected ${url.href} to lead somewhere, got more than ${mostRedirects} redirects.`);
}

/** Returns the JSON that a URL holds. Throws HubError when it is none, larger than 16 MiB, or dear to read. */
export async function getJson(url: URL, access: HubAccess): Promise<unknown> {
  const text = await withRetries(access, async () => {
    const { body } = await get(url, access, {});
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    try {
      for await (const chunk of body ?? []) {
        bytes += chunk.length;
        if (bytes > mostJsonMiB * 2 ** 20) {
          throw new HubError(`Expected ${url.href} to have at most ${mostJsonMiB} MiB, got more. Check the endpoint.`);
        }
        chunks.push(chunk);
      }
    } catch (error) {
      throw error instanceof HubError
        ? error
        : new Transient(`${url.origin} broke off: ${reasonOf(error)}`, { cause: error });
    }
    return Buffer.concat(chunks);
  });
  try {
    return parseJson(text);
  } catch (cause) {
    throw new HubError(`Expected ${url.href} to be JSON, got something else. Check the endpoint.`, { cause });
  }
}

async function send(url: URL, { signal }: HubAccess, headers: Record<string, string>): Promise<Response> {
  try {
    // fetch itself gives up on a hub that sends nothing for five minutes.
    return await fetch(url.href, { headers, redirect: 'manual', ...(signal === undefined ? {} : { signal }) });
  } catch (cause) {
    throw new Transient(`${url.origin.slice(0, mostShown)} can't be reached: ${reasonOf(cause)}`, { cause });
  }
}

/** Returns where a redirect leads. Throws HubError for other schemes than http, and from https to http. */
function redirected(from: URL, location: string | null): URL {
  const to = location !== null && URL.canParse(location, from.href) ? new URL(location, from) : undefined;
  const isSafe = to?.protocol === 'https:' || (to?.protocol === 'http:' && from.protocol === 'http:');
  if (to !== undefined && isSafe) return to;
  throw new HubError(
    `${from.origin} redirects to ${JSON.stringify((location ?? '').slice(0, mostShown))}, where nothing is fetched from. Check the endpoint.`,
  );
}

async function accepted(response: Response, url: URL): Promise<Response> {
  const { status, headers } = response;
  if (status === 200 || status === 206 || status === 416) return response;
  await response.body?.cancel();
  const said = headers.get('x-error-message');
  const answer = `${url.origin} answered ${status}${said === null ? '' : ` (${said.slice(0, mostShown)})`} for ${url.pathname}`;
  if (status === 429 || status === 408 || status >= 500) {
    throw new Transient(answer, { waitMs: retryAfterMs(headers.get('retry-after')) });
  }
  throw new HubError(`${answer}.`, { hint: hintFor(status, headers.get('x-error-code')) });
}

function hintFor(status: number, code: string | null): string {
  if (code === 'GatedRepo') return 'Ask for access on its page, then set HF_TOKEN to a token of that account.';
  if (code === 'RevisionNotFound') return 'Check the revision after the @.';
  if (status === 401 || status === 403) return 'Check the name; a private or gated model needs HF_TOKEN.';
  if (status === 404) return 'Check the name and the revision; a private model needs HF_TOKEN.';
  return 'Check HF_ENDPOINT.';
}

/** Returns the time that a Retry-After header asks for, in seconds or until a date; undefined when it has none. */
function retryAfterMs(header: string | null): number | undefined {
  if (header === null) return undefined;
  const ms = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - Date.now();
  return Number.isNaN(ms) ? undefined : Math.max(0, ms);
}

/** Returns why a connection failed: what is underneath fetch's own words, 200 characters of it at most. */
export function reasonOf(error: unknown): string {
  const { cause } = error as { cause?: unknown };
  const underneath = cause instanceof Error ? cause : error;
  const reason = underneath instanceof Error ? underneath.message : String(underneath);
  return reason.slice(0, mostShown);
}
