// A hub on this machine: the part of the Hugging Face Hub's HTTP protocol that downloads need, with faults on demand.
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join, relative, sep } from 'node:path';

/** Files of a repository by path. */
export type Files = Readonly<Record<string, Buffer>>;

export const commit = 'c0ffee0000000000000000000000000000000001';

/** Returns the files of a folder by their paths in it. */
export async function readFolder(folder: string): Promise<Files> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const places = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const named = places.map(
    async (place) => [relative(folder, place).split(sep).join('/'), await readFile(place)] as const,
  );
  return Object.fromEntries(await Promise.all(named));
}

/** Answers a request in the hub's place, and returns true when it did. */
export type Fault = (request: IncomingMessage, response: ServerResponse) => boolean;

/** Files of these kinds are kept as large ones, by their SHA-256. */
const isLarge = (path: string) => /\.(onnx|onnx_data)$/.test(path);
const sha256 = (data: Buffer) => createHash('sha256').update(data).digest('hex');
const gitSha1 = (data: Buffer) => createHash('sha1').update(`blob ${data.length}\0`).update(data).digest('hex');

/** Returns the name of a file's blob. */
export const blobName = (path: string, data: Buffer) => (isLarge(path) ? sha256(data) : gitSha1(data));

/** A hub with one repository, `org/name`, at one commit with the name `main`. */
export class HubServer {
  readonly url: string;
  /** `GET /path`, in their order. */
  readonly requests: { readonly line: string; readonly headers: IncomingMessage['headers'] }[] = [];
  fault: Fault = () => false;
  files: Files;
  readonly #server: Server;

  private constructor(server: Server, files: Files) {
    this.#server = server;
    this.files = files;
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  static async start(files: Files): Promise<HubServer> {
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const hub = new HubServer(server, files);
    server.on('request', (request, response) => hub.#answer(request, response));
    return hub;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    this.#server.close();
    await once(this.#server, 'close');
  }

  /** Requests for a file's content, from now on forgotten. */
  takeRequests(): string[] {
    return this.requests
      .splice(0)
      .map(({ line, headers }) => (headers.range === undefined ? line : `${line} ${headers.range}`));
  }

  #answer(request: IncomingMessage, response: ServerResponse): unknown {
    this.requests.push({ line: `${request.method} ${request.url}`, headers: request.headers });
    if (this.fault(request, response)) return undefined;
    const { pathname } = new URL(request.url ?? '/', this.url);
    if (/^\/api\/models\/org\/name\/revision\/(main|c0ffee\w+)$/.test(pathname))
      return sendJson(response, this.#listing());
    if (/^\/api\/models\/org\/name\/tree\/(main|c0ffee\w+)$/.test(pathname)) return sendJson(response, this.#tree());
    const path = new RegExp(`^/org/name/resolve/(?:main|${commit})/(.+)$`).exec(pathname)?.[1];
    const data = path === undefined ? undefined : this.files[decodeURIComponent(path)];
    if (path === undefined || data === undefined) {
      const code = pathname.startsWith('/api/models/org/name/')
        ? 'RevisionNotFound'
        : path === undefined
          ? 'RepoNotFound'
          : 'EntryNotFound';
      return response.writeHead(404, { 'x-error-code': code, 'x-error-message': 'Not found' }).end();
    }
    return sendFile(request, response, data, { etag: `"${blobName(path, data)}"`, 'x-repo-commit': commit });
  }

  #listing(): object {
    const siblings = Object.entries(this.files).map(([rfilename, data]) => ({
      rfilename,
      size: data.length,
      blobId: gitSha1(isLarge(rfilename) ? Buffer.from(`pointer to ${sha256(data)}`) : data),
      ...(isLarge(rfilename) ? { lfs: { sha256: sha256(data), size: data.length, pointerSize: 134 } } : {}),
    }));
    return {
      _id: '1',
      id: 'org/name',
      modelId: 'org/name',
      sha: commit,
      private: false,
      tags: [],
      downloads: 0,
      siblings,
    };
  }

  #tree(): object {
    return Object.entries(this.files).map(([path, data]) => ({
      type: 'file',
      path,
      size: data.length,
      oid: gitSha1(data),
      ...(isLarge(path) ? { lfs: { oid: sha256(data), size: data.length, pointerSize: 134 } } : {}),
    }));
  }
}

function sendJson(response: ServerResponse, content: object): void {
  response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(content));
}

/** Sends a file, or the part of it that was asked for. */
function sendFile(
  request: IncomingMessage,
  response: ServerResponse,
  data: Buffer,
  headers: Record<string, string>,
): void {
  const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? Number.NaN);
  if (start >= data.length) {
    response.writeHead(416, { ...headers, 'content-range': `bytes */${data.length}` }).end();
    return;
  }
  const part = data.subarray(Number.isNaN(start) ? 0 : start);
  response.writeHead(Number.isNaN(start) ? 200 : 206, {
    ...headers,
    'content-length': part.length,
    ...(Number.isNaN(start) ? {} : { 'content-range': `bytes ${start}-${data.length - 1}/${data.length}` }),
  });
  response.end(request.method === 'HEAD' ? undefined : part);
}
