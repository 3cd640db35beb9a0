// Models from a hub that behaves, and from one that doesn't: a right result or a clear error, and nothing that looks whole and isn't.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, readlink, rm, stat, writeFile } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { BundleError, CancelledError, HubError, InvalidOptionError, OutputError } from '../../src/errors.js';
import { findPulled, listPulled, removePulled } from '../../src/hub/cache.js';
import { type PullOptions, pullModel } from '../../src/hub/pull.js';
import { isRepository, parseRepository, repositoryText } from '../../src/hub/repository.js';
import { blobName, commit, type Fault, type Files, HubServer } from './hub-server.js';
import { manifestOf, smallRepository } from './small-repository.js';

const large = 'transformer/model.onnx';
const largeData = smallRepository[large] as Buffer;
const blobOf = (path: string) => blobName(path, smallRepository[path] as Buffer);
const main = { name: 'org/name', revision: 'main' };

let hub: HubServer;
let folder: string;
let cacheFolder: string;
/** Pauses that were asked for. */
let waits: number[];
before(async () => {
  hub = await HubServer.start(smallRepository);
  folder = await mkdtemp(join(tmpdir(), 'reelspace-hub-'));
});
beforeEach(async () => {
  cacheFolder = await mkdtemp(join(folder, 'cache-'));
  waits = [];
});
afterEach(() => {
  hub.fault = () => false;
  hub.files = smallRepository;
  hub.requests.length = 0;
});
after(async () => {
  await hub.close();
  await rm(folder, { recursive: true });
});

function pull(options: Partial<PullOptions> = {}, name = 'org/name') {
  const wait = async (waitMs: number) => void waits.push(waitMs);
  return pullModel(name, { endpoint: hub.url, cacheFolder, wait, ...options });
}

const blobs = () => readdir(join(cacheFolder, 'models--org--name/blobs')).catch((): string[] => []);

/** Returns what lies in the cache, told as huggingface_hub's golden tells it. */
async function cacheListing(): Promise<Record<string, string | number>> {
  const root = join(cacheFolder, 'models--org--name');
  const found: Record<string, string | number> = {};
  for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
    if (entry.isDirectory()) continue;
    const place = join(entry.parentPath, entry.name);
    const path = place.slice(root.length + 1);
    if (entry.isSymbolicLink()) found[path] = `-> ${await readlink(place)}`;
    else found[path] = path.startsWith('refs') ? await readFile(place, 'utf8') : (await stat(place)).size;
  }
  return found;
}

/** Asserts that the model is there and every file of it is right. */
async function assertWhole(): Promise<void> {
  const path = await findPulled(cacheFolder, main);
  assert.ok(path !== undefined);
  for (const [name, data] of Object.entries(smallRepository)) {
    if (name === 'weights.safetensors') continue;
    assert.deepEqual(await readFile(join(path, name)), data, name);
  }
  assert.deepEqual(
    (await blobs()).filter((name) => name.includes('incomplete')),
    [],
  );
}

/** Asserts that pulling fails with that error, and that no model is there then. */
async function assertFails(
  error: typeof HubError | typeof InvalidOptionError | typeof OutputError,
  message: RegExp,
  options?: Partial<PullOptions>,
) {
  await assert.rejects(pull(options), (thrown: Error) => {
    assert.ok(thrown instanceof error, thrown.stack);
    assert.match(thrown.message, message);
    return true;
  });
  assert.equal(await findPulled(cacheFolder, main), undefined);
  for (const name of await blobs()) {
    if (name.includes('incomplete')) continue;
    const [path] = Object.entries(smallRepository).find(([path, data]) => blobName(path, data) === name) ?? [];
    assert.ok(path !== undefined, name);
    assert.deepEqual(await readFile(join(cacheFolder, 'models--org--name/blobs', name)), smallRepository[path]);
  }
}

/** A fault in the answers for one file; `times` of them. */
function faultAt(
  path: string,
  answer: (response: ServerResponse, range: string | undefined) => unknown,
  times = Number.POSITIVE_INFINITY,
): Fault {
  let left = times;
  return ({ url, headers }, response) => {
    if (url?.endsWith(`/${path}`) !== true || left-- <= 0) return false;
    answer(response, headers.range);
    return true;
  };
}

/** A fault in every answer. */
function everywhere(answer: (response: ServerResponse) => unknown): Fault {
  return (_, response) => {
    answer(response);
    return true;
  };
}

const status =
  (code: number, headers: Record<string, string> = {}) =>
  (response: ServerResponse) =>
    void response.writeHead(code, headers).end();

/** Sends so many bytes of a file and cuts the connection. */
const cutAfter = (bytes: number) => (response: ServerResponse) => {
  response.writeHead(200, { 'content-length': largeData.length });
  response.write(largeData.subarray(0, bytes), () => response.destroy());
  if (bytes === 0) response.flushHeaders();
};

/** A hub that lists something else. */
const listing =
  (content: object | string): Fault =>
  ({ url }, response) => {
    if (url?.startsWith('/api/') !== true) return false;
    response.end(typeof content === 'string' ? content : JSON.stringify(content));
    return true;
  };

describe('pullModel', () => {
  it('leaves the cache as huggingface_hub does, with what the manifest lists and no more', async () => {
    const seen: number[] = [];
    const pulled = await pull({ onProgress: ({ doneBytes, totalBytes }) => seen.push(doneBytes / totalBytes) });
    const golden = JSON.parse(await readFile('test/goldens/hub-cache.json', 'utf8'));
    assert.deepEqual(await cacheListing(), golden.cache);
    assert.deepEqual(pulled, { ...main, commit, path: await findPulled(cacheFolder, main), sizeBytes: 3617 });
    assert.equal(seen.at(-1), 1);
    assert.deepEqual(
      seen,
      seen.toSorted((a, b) => a - b),
    );
    await assertWhole();
  });

  it('fetches nothing again, and by its commit too', async () => {
    await pull();
    hub.takeRequests();
    await pull();
    await pull({}, `org/name@${commit}`);
    assert.deepEqual(hub.takeRequests(), [
      'GET /api/models/org/name/revision/main?blobs=true',
      `GET /api/models/org/name/revision/${commit}?blobs=true`,
    ]);
    assert.equal(await findPulled(cacheFolder, { ...main, revision: commit }), await findPulled(cacheFolder, main));
  });

  it('fetches again what has changed on the disk', async () => {
    await pull();
    const blob = join(cacheFolder, 'models--org--name/blobs', blobOf(large));
    const altered = Buffer.from(largeData);
    altered[altered.length >> 1] = (altered[altered.length >> 1] ?? 0) ^ 1;
    await writeFile(blob, altered);
    hub.takeRequests();
    await pull();
    await assertWhole();
    assert.deepEqual(hub.takeRequests(), [
      'GET /api/models/org/name/revision/main?blobs=true',
      `GET /org/name/resolve/${commit}/${large}`,
    ]);
  });

  it('puts a copy that has changed in order, and stops while it looks at what is there', async () => {
    const { path } = await pull();
    await rm(join(path, large));
    await writeFile(join(path, large), 'another');
    const controller = new AbortController();
    const stopped = pull({ signal: controller.signal, onProgress: () => controller.abort() });
    await assert.rejects(stopped, CancelledError);
    await pull();
    await assertWhole();
  });

  it('goes on where the connection was cut, after whatever byte', async () => {
    for (let bytes = 0; bytes <= largeData.length; bytes++) {
      await rm(cacheFolder, { recursive: true });
      hub.takeRequests();
      waits = [];
      hub.fault = faultAt(large, cutAfter(bytes), 1);
      await pull();
      await assertWhole();
      const asked = hub.takeRequests().filter((line) => line.includes(`/${large}`) && !line.includes('onnx_data'));
      // A cut may overtake the bytes sent before it, so that fewer arrive; never more.
      assert.ok(asked.length <= 2, asked.join());
      assert.deepEqual(waits, asked.length === 1 ? [] : [1000]);
      const from = Number(/bytes=(\d+)-$/.exec(asked[1] ?? '')?.[1] ?? 0);
      assert.ok(from <= bytes, `${from} after ${bytes}`);
    }
  });

  it('asks again for a listing or a manifest that was cut', async () => {
    const manifest = smallRepository['reelspace.json'] as Buffer;
    const { length } = JSON.stringify(await (await fetch(`${hub.url}/api/models/org/name/revision/main`)).json());
    for (const [path, size] of [
      ['main?blobs=true', length],
      ['reelspace.json', manifest.length],
    ] as const) {
      for (let bytes = 0; bytes < size; bytes += 41) {
        await rm(cacheFolder, { recursive: true, force: true });
        hub.fault = faultAt(
          path,
          (response) => {
            response.writeHead(200, { 'content-length': size });
            if (bytes === 0) response.flushHeaders();
            response.write(manifest.subarray(0, bytes), () => response.destroy());
          },
          1,
        );
        await pull();
        await assertWhole();
      }
    }
  });

  it('gives up when nothing comes any more, and goes on the next time', async () => {
    const half = 30;
    hub.fault = faultAt(large, (response, range) =>
      range === undefined ? cutAfter(half)(response) : response.destroy(),
    );
    await assertFails(HubError, /tried 5 times/);
    assert.deepEqual(waits, [1000, 2000, 4000, 8000]);
    const [part] = (await blobs()).filter((name) => name.includes('incomplete'));
    assert.match(part ?? '', new RegExp(`^${blobOf(large)}\\..*\\.incomplete$`));
    hub.fault = () => false;
    hub.takeRequests();
    await pull();
    await assertWhole();
    const resumed = hub.takeRequests().find((line) => line.includes(`/${large} `));
    assert.match(resumed ?? '', /bytes=\d+-$/);
  });

  it('goes on with what a process that is gone has left, not with what another one writes', async () => {
    const place = join(cacheFolder, 'models--org--name/blobs');
    await mkdir(place, { recursive: true });
    const host = hostname().replace(/[^\w-]/g, '_');
    const { stdout } = await promisify(execFile)(process.execPath, ['-p', 'process.pid']);
    const left = `${blobOf(large)}.${host}-${stdout.trim()}-1.incomplete`;
    const alive = `${blobOf(large)}.${host}-${process.ppid}-1.incomplete`;
    const elsewhere = `${blobOf(large)}.${host}x-1-1.incomplete`;
    await writeFile(join(place, left), largeData.subarray(0, 20));
    for (const name of [alive, elsewhere]) await writeFile(join(place, name), 'others');
    await pull();
    assert.ok(hub.takeRequests().includes(`GET /org/name/resolve/${commit}/${large} bytes=20-`));
    const names = await blobs();
    assert.deepEqual([names.includes(left), names.includes(alive), names.includes(elsewhere)], [false, true, true]);
    for (const name of [alive, elsewhere]) await rm(join(place, name));
    await assertWhole();
  });

  it('begins anew when what was left is wrong, too long, or can not be gone on with', async () => {
    const place = join(cacheFolder, 'models--org--name/blobs');
    const host = hostname().replace(/[^\w-]/g, '_');
    const part = join(place, `${blobOf(large)}.${host}-${process.pid}-0.incomplete`);
    const cases: [Buffer, Fault][] = [
      [Buffer.alloc(20, 1), () => false],
      [Buffer.alloc(largeData.length, 1), () => false],
      [Buffer.alloc(500, 1), () => false],
      [largeData, () => false],
      [largeData.subarray(0, 20), faultAt(large, status(416), 1)],
      [largeData.subarray(0, 20), faultAt(large, (response) => response.writeHead(200).end(largeData), 1)],
      [
        largeData.subarray(0, 20),
        faultAt(large, (response) => response.writeHead(206, { 'content-range': 'bytes 0-60/61' }).end(largeData), 1),
      ],
      [largeData.subarray(0, 20), faultAt(large, (response) => response.writeHead(206).end(largeData), 1)],
    ];
    for (const [content, fault] of cases) {
      await rm(cacheFolder, { recursive: true });
      await mkdir(place, { recursive: true });
      await writeFile(part, content);
      hub.fault = fault;
      await pull();
      await assertWhole();
    }
  });

  it('refuses other bytes and other sizes than the hub lists', async () => {
    const other = Buffer.from(largeData).fill(7, 40, 41);
    const cases: [Fault, RegExp][] = [
      [faultAt(large, (response) => response.end(other)), /transformer\/model\.onnx came with another hash/],
      [
        faultAt('tokenizer.json', (response) => response.end('{"version":"1.1"}')),
        /tokenizer\.json came with another hash/,
      ],
      [
        faultAt('reelspace.json', (response) => response.end('{}')),
        /reelspace\.json has 2 bytes where the hub lists 539/,
      ],
      [
        faultAt(large, (response) => response.end(Buffer.concat([largeData, other]))),
        /has 122 bytes where the hub lists 61/,
      ],
      [faultAt(large, (response) => response.write(largeData, () => response.end(other))), /has more than 61 bytes/],
      [faultAt(large, (response) => response.end(largeData.subarray(1))), /has 60 bytes where/],
      [
        faultAt(large, (response) => response.writeHead(206, { 'content-range': 'bytes 0-60/61' }).end(largeData)),
        /answered 206 when asked for the whole/,
      ],
    ];
    for (const [fault, message] of cases) {
      await rm(cacheFolder, { recursive: true });
      hub.fault = fault;
      await assertFails(HubError, message);
    }
    hub.fault = faultAt(large, (response, range) => {
      // Without a length, a part that ends too early looks like a cut.
      response.write(range === undefined ? largeData.subarray(0, 10) : '');
      response.end();
    });
    await assertFails(HubError, /the connection was closed|did not go on/);
    hub.fault = () => false;
    await pull();
    await assertWhole();
  });

  it('says what an answer other than success means', async () => {
    const cases: [number, Record<string, string>, RegExp, RegExp][] = [
      [401, {}, /answered 401 for \/api\/models\/org\/name/, /HF_TOKEN/],
      [
        403,
        { 'x-error-code': 'GatedRepo', 'x-error-message': 'Ask first' },
        /answered 403 \(Ask first\)/,
        /Ask for access/,
      ],
      [404, { 'x-error-code': 'RepoNotFound' }, /answered 404/, /Check the name/],
      [404, { 'x-error-code': 'RevisionNotFound' }, /answered 404/, /revision after the @/],
      [418, {}, /answered 418/, /HF_ENDPOINT/],
    ];
    for (const [code, headers, message, hint] of cases) {
      hub.fault = everywhere(status(code, headers));
      await assertFails(HubError, message);
      await assert.rejects(pull(), (error: HubError) => hint.test(error.hint ?? ''));
    }
    assert.deepEqual(waits, [], 'nothing that stays is tried again');
    hub.fault = faultAt(large, status(404));
    await assertFails(HubError, /answered 404 for \/org\/name\/resolve/);
    hub.fault = faultAt(large, status(416));
    await assertFails(HubError, /answered 416 when asked for the whole/);
  });

  it('tries again after 429 and 5xx, as late as it is asked to, and not for ever', async () => {
    hub.fault = faultAt(large, status(429, { 'retry-after': '7' }), 2);
    await pull();
    assert.deepEqual(waits, [7000, 7000]);
    await removePulled(cacheFolder, 'org/name');

    waits = [];
    const soon = new Date(Date.now() + 60_000).toUTCString();
    hub.fault = faultAt(large, status(503, { 'retry-after': soon }), 1);
    await pull();
    assert.ok(waits.length === 1 && (waits[0] as number) > 30_000 && (waits[0] as number) <= 60_000, waits.join());
    await removePulled(cacheFolder, 'org/name');

    waits = [];
    hub.fault = faultAt(large, status(500));
    await assertFails(HubError, /answered 500 .*tried 5 times/);
    assert.deepEqual(waits, [1000, 2000, 4000, 8000]);
    hub.fault = everywhere(status(429, { 'retry-after': '86400' }));
    await assertFails(HubError, /answered 429 .*asks to wait 86400 s/);
  });

  it('says that a hub can not be reached', async () => {
    const gone = await HubServer.start({});
    await gone.close();
    await assertFails(HubError, /^http:\/\/127\.0\.0\.1:\d+ can't be reached: .*ECONNREFUSED.* \(tried 5 times\)/, {
      endpoint: gone.url,
    });
    await assertFails(InvalidOptionError, /hub endpoint to be an http or https address, got "file:\/\/\/etc"/, {
      endpoint: 'file:///etc',
    });
    await assertFails(InvalidOptionError, /hub endpoint/, { endpoint: '' });
  });

  it('follows redirects, and sends the token to the endpoint alone', async () => {
    const elsewhere = await HubServer.start(smallRepository);
    try {
      const away = elsewhere.url.replace('127.0.0.1', 'localhost');
      for (const base of ['', hub.url, elsewhere.url, away]) {
        await rm(cacheFolder, { recursive: true, force: true });
        hub.fault = faultAt(large, (response) =>
          status(302, { location: `${base}/org/name/resolve/main/${large}?signed=1` })(response),
        );
        await pull({ token: 'secret' });
        await assertWhole();
      }
      assert.ok(hub.requests.every(({ headers }) => headers.authorization === 'Bearer secret'));
      assert.equal(elsewhere.requests.length, 2);
      for (const { headers } of elsewhere.requests) {
        assert.equal(headers.authorization, undefined);
        assert.ok(!JSON.stringify(headers).includes('secret'));
      }
    } finally {
      await elsewhere.close();
    }
  });

  it('refuses redirects to anything but the web, and circles', async () => {
    for (const location of ['file:///etc/passwd', 'ftp://127.0.0.1/x', 'data:text/plain,x', 'http://', undefined]) {
      hub.fault = faultAt(large, status(302, location === undefined ? {} : { location }));
      await assertFails(HubError, /redirects to ".*", where nothing is fetched from/);
    }
    hub.fault = faultAt(large, status(307, { location: `/org/name/resolve/main/${large}` }));
    await assertFails(HubError, /more than 10 redirects/);
  });

  it('tells no more than 200 characters of what a hub says', async () => {
    const long = 'x'.repeat(5000);
    for (const [code, headers, message] of [
      [403, { 'x-error-message': long }, /answered 403 \(x{200}\) for/],
      [302, { location: `file:///${long}` }, /redirects to "file:\/\/\/x{192}", where/],
      [302, { location: `http://${long}/` }, /^http:\/\/x{193} can't be reached: .{1,200} \(tried 5 times\)$/],
    ] as const) {
      hub.fault = everywhere(status(code, headers));
      await assertFails(HubError, message);
    }
  });

  it('trusts no listing', async () => {
    const file = { rfilename: 'reelspace.json', size: 5, blobId: 'a'.repeat(40) };
    const many = Array.from({ length: 100_001 }, (_, index) => ({ ...file, rfilename: `${index}` }));
    for (const [content, message] of [
      ['<html>', /to be JSON, got something else/],
      [{}, /wrong at sha/],
      [{ sha: '../../../../tmp', siblings: [] }, /wrong at sha/],
      [{ sha: commit, siblings: [{ ...file, blobId: '../x' }] }, /wrong at siblings\.0\.blobId/],
      [{ sha: commit, siblings: [{ ...file, size: -1 }] }, /wrong at siblings\.0\.size/],
      [{ sha: commit, siblings: [{ ...file, lfs: { sha256: '/etc/passwd' } }] }, /wrong at siblings\.0\.lfs/],
      [{ sha: commit, siblings: {} }, /wrong at siblings: Expected a list/],
      [{ sha: commit, siblings: many }, /wrong at siblings: Expected a list of at most 100000/],
      [{ sha: commit, siblings: [file, { ...file, size: 6 }] }, /to list each file of org\/name once/],
      [{ sha: commit, siblings: [{ ...file, size: 2 ** 26 + 1 }] }, /to have at most 64 MiB, got 67108865 bytes/],
      [' '.repeat(2 ** 24 + 1), /to have at most 16 MiB, got more/],
    ] as const) {
      hub.fault = listing(content);
      await assertFails(HubError, message);
    }
    assert.ok(
      hub.takeRequests().every((line) => line.startsWith('GET /api/')),
      'nothing of it is fetched',
    );
  });

  it('takes no other commit than the one that was asked for', async () => {
    const other = `c0ffee${'2'.repeat(34)}`;
    await assert.rejects(pull({}, `org/name@${other}`), (error: Error) => {
      assert.ok(error instanceof HubError, error.stack);
      assert.match(error.message, new RegExp(`to list org/name at ${other}, got ${commit}`));
      return true;
    });
    assert.deepEqual(await readdir(cacheFolder), []);
  });

  it('trusts no manifest', async () => {
    const { 'reelspace.json': _, ...content } = smallRepository;
    type ManifestFile = { path: string; sizeBytes?: number; sha256?: string };
    const manifest = (change: (files: ManifestFile[]) => void): Files => {
      const json = JSON.parse(manifestOf(content).toString());
      change(json.files);
      return { ...smallRepository, 'reelspace.json': Buffer.from(JSON.stringify(json)) };
    };
    const cases: [Files, RegExp][] = [
      [{ ...smallRepository, 'reelspace.json': Buffer.from('{') }, /can't be read/],
      [{ ...smallRepository, 'reelspace.json': Buffer.from('[]') }, /is wrong at/],
      ...[
        '../x',
        '/etc/passwd',
        'a/../../x',
        'a//b',
        './x',
        'a\\b',
        '',
        'a/',
        'n'.repeat(256),
        `${'a/'.repeat(128)}b`,
      ].map((path): [Files, RegExp] => [
        manifest(([file]) => Object.assign(file as object, { path })),
        /is wrong at files\.0\.path/,
      ]),
      [
        manifest((files) => files.push(...Array.from({ length: 10_000 }, (_, index) => ({ path: `${index}` })))),
        /is wrong at files: Expected a list of at most 10000/,
      ],
      [manifest((files) => files.push(files[1] as ManifestFile)), /lists transformer\/model\.onnx_data twice/],
      ...[
        ['transformer', 'transformer/model.onnx, and transformer as a file'],
        ['empty.txt/a/b', 'empty.txt/a/b, and empty.txt as a file'],
        ['reelspace.json', 'itself'],
        ['reelspace.json/a', 'reelspace.json/a, and reelspace.json as a file'],
      ].map(([path = '', what]): [Files, RegExp] => [
        manifest((files) => files.push({ path, sizeBytes: 0, sha256: '0'.repeat(64) })),
        new RegExp(`lists ${what}\\. Tell`),
      ]),
      [
        manifest(([file]) => Object.assign(file as object, { path: 'unet/model.onnx' })),
        /lacks unet\/model\.onnx, which/,
      ],
      [
        manifest(([file]) => Object.assign(file as object, { sizeBytes: 3 })),
        /transformer\/model\.onnx of org\/name is another file/,
      ],
      [manifest(([file]) => Object.assign(file as object, { sha256: '0'.repeat(64) })), /is another file/],
      [
        manifest((files) => Object.assign(files[2] as object, { sha256: '0'.repeat(64) })),
        /tokenizer\.json came with another hash/,
      ],
    ];
    for (const [files, message] of cases) {
      hub.files = files;
      await assert.rejects(pull(), (error: Error) => {
        assert.ok(error instanceof HubError, error.stack);
        assert.match(error.message, message);
        return true;
      });
      assert.equal(await findPulled(cacheFolder, main), undefined);
    }
  });

  it('brings the graphs and the configuration of a folder that optimum exported', async () => {
    const optimum: Files = {
      'model_index.json': Buffer.from('{"_class_name":"OnnxStableDiffusionPipeline"}'),
      'unet/model.onnx': largeData,
      'unet/model.onnx_data': Buffer.alloc(200, 4),
      'unet/config.json': Buffer.from('{}'),
      'tokenizer/merges.txt': Buffer.from('a b'),
    };
    hub.files = { ...optimum, 'unet/diffusion.safetensors': largeData, 'README.md': largeData, '../x.json': largeData };
    const { path, sizeBytes } = await pull();
    assert.equal(await findPulled(cacheFolder, main), path);
    const entries = await readdir(path, { recursive: true, withFileTypes: true });
    const names = entries
      .filter((entry) => entry.isSymbolicLink())
      .map((entry) => join(entry.parentPath, entry.name).slice(path.length + 1));
    assert.deepEqual(names.sort(), Object.keys(optimum).sort());
    for (const [name, data] of Object.entries(optimum)) assert.deepEqual(await readFile(join(path, name)), data);
    assert.equal(
      sizeBytes,
      Object.values(optimum).reduce((sum, data) => sum + data.length, 0),
    );
    await removePulled(cacheFolder, 'org/name');
    const more = Array.from({ length: 10_000 }, (_, index) => [`${index}.json`, Buffer.alloc(0)]);
    hub.files = { ...optimum, ...Object.fromEntries(more) };
    await assert.rejects(pull(), /^HubError: Expected org\/name to have at most 10000 files, got 10004/);
    hub.files = optimum;
    hub.fault = faultAt('unet/config.json', status(404));
    await assert.rejects(pull(), HubError);
    assert.equal(await findPulled(cacheFolder, main), undefined);
  });

  it('says what stands in the way in the cache', async () => {
    const root = join(cacheFolder, 'models--org--name');
    await mkdir(root);
    await writeFile(join(root, 'snapshots'), '');
    await assertFails(OutputError, /^Can't write .*snapshots\/c0ffee.*\/transformer\/model\.onnx: E(NOTDIR|EXIST)/);
    await rm(join(root, 'snapshots'));

    const ofMain = await (await fetch(`${hub.url}/api/models/org/name/revision/main`)).json();
    hub.fault = listing(ofMain as object);
    for (const [first, then] of [
      ['v1', 'v1/x'],
      ['v2/x', 'v2'],
    ]) {
      await pull({}, `org/name@${first}`);
      await assert.rejects(pull({}, `org/name@${then}`), (error: Error) => {
        assert.ok(error instanceof OutputError, error.stack);
        assert.match(error.message, new RegExp(`^Can't write .*refs/${then}: E`));
        return true;
      });
    }
    assert.deepEqual((await readdir(root)).sort(), ['blobs', 'refs', 'snapshots']);
  });

  it('says that a repository holds no bundle, and how one is made', async () => {
    hub.files = { 'model_index.json': Buffer.from('{}'), 'unet/config.json': Buffer.from('{}') };
    await assertFails(HubError, /org\/name at main holds no reelspace\.json/);
    await assert.rejects(pull(), (error: HubError) => /python -m export --pipeline/.test(error.hint ?? ''));
    hub.files = { 'README.md': Buffer.from('hello') };
    await assert.rejects(pull(), (error: HubError) => /docs\/models\.md/.test(error.hint ?? ''));
  });

  it('keeps what it has when it is cancelled', async () => {
    const controller = new AbortController();
    hub.fault = faultAt(large, (response) => {
      response.writeHead(200, { 'content-length': largeData.length });
      response.write(largeData.subarray(0, 10));
    });
    const isLarges = (path: string, doneBytes: number) =>
      path === large && doneBytes > (smallRepository['reelspace.json'] as Buffer).length;
    const onProgress: PullOptions['onProgress'] = ({ path, doneBytes }) => {
      if (isLarges(path, doneBytes)) controller.abort();
    };
    await assert.rejects(pull({ signal: controller.signal, onProgress }), CancelledError);
    assert.equal((await blobs()).filter((name) => name.includes('incomplete')).length, 1);
    await assert.rejects(pull({ signal: AbortSignal.abort() }), CancelledError);
    hub.fault = () => false;
    hub.takeRequests();
    await pull();
    await assertWhole();
    assert.ok(hub.takeRequests().some((line) => line.endsWith('bytes=10-')));
  });

  it('serves two pulls at once', async () => {
    await Promise.all([pull(), pull(), pull()]);
    await assertWhole();
  });

  it('asks nobody when offline', async () => {
    await assertFails(HubError, /to be online to pull org\/name/, { isOffline: true });
    await pull();
    hub.takeRequests();
    await assert.rejects(pull({ isOffline: true }), (error: HubError) =>
      /can be used: --model org\/name/.test(error.hint ?? ''),
    );
    assert.deepEqual(hub.takeRequests(), []);
  });
});

/** Pulls in a process of its own, and prints how that ended. */
const pullInProcess = `
  const [endpoint, cacheFolder] = process.argv.slice(1);
  const { pullModel } = await import(${JSON.stringify(new URL('../../src/hub/pull.js', import.meta.url).href)});
  try {
    console.log('pulled', (await pullModel('org/name', { endpoint, cacheFolder })).commit);
  } catch (error) {
    console.log(error.name, error.message);
  }`;
const noRoom =
  /^OutputError Expected room on the disk for .*, got none left\. Free some space and pull again; what is there is kept\.\n$/;
const runShell = async (script: string, ...options: string[]): Promise<string> =>
  (await promisify(execFile)('sh', ['-c', script, process.execPath, ...options])).stdout;

describe('a pull in a process of its own', { skip: process.platform === 'win32' }, () => {
  it('takes little memory for a listing that is all brackets', async () => {
    const script = `exec "$0" --max-old-space-size=128 --input-type=module -e "$1" "$2" "$3"`;
    for (const content of ['['.repeat(2 ** 24), `[${'{},'.repeat(5e6)}0]`]) {
      hub.fault = listing(content);
      assert.match(
        await runShell(script, pullInProcess, hub.url, cacheFolder),
        /^HubError .* to be JSON, got something/,
      );
    }
  });

  it('says that a file may not grow any more, and goes on when it may', async () => {
    const script = `trap '' XFSZ; ulimit -f 4; exec "$0" --input-type=module -e "$1" "$2" "$3"`;
    assert.match(await runShell(script, pullInProcess, hub.url, cacheFolder), noRoom);
    assert.equal(await findPulled(cacheFolder, main), undefined);
    hub.takeRequests();
    await pull();
    await assertWhole();
    assert.ok(hub.takeRequests().some((line) => /model\.onnx_data bytes=\d+-$/.test(line)));
  });

  it('does as well beside another one', async () => {
    const command = `exec "$0" --input-type=module -e "$1" "$2" "$3"`;
    const both = await Promise.all([1, 2].map(() => runShell(command, pullInProcess, hub.url, cacheFolder)));
    assert.deepEqual(both, [`pulled ${commit}\n`, `pulled ${commit}\n`]);
    await assertWhole();
  });
});

const canMount = await runShell('unshare -rm mount -t tmpfs none /mnt && echo yes').then(
  (answer) => answer === 'yes\n',
  () => false,
);

it('a full disk is an error, and no model is there then', {
  skip: !canMount && 'may not mount a small disk',
}, async () => {
  const inside = `mount -t tmpfs -o "$4" none "$3" && "$0" --input-type=module -e "$1" "$2" "$3" && find "$3" -name reelspace.json`;
  const pullInto = (limit: string) =>
    runShell(`exec unshare -rm sh -c '${inside}' "$0" "$@"`, pullInProcess, hub.url, cacheFolder, limit);
  // A blob or a link is one file too many; that a folder is, Node tells as ENOENT.
  for (const limit of ['nr_inodes=5', 'nr_inodes=9', 'nr_inodes=14'])
    assert.match(await pullInto(limit), noRoom, limit);
  hub.files = { ...smallRepository, ...bigRepository() };
  assert.match(await pullInto('size=256k'), noRoom);
});

function bigRepository(): Files {
  const files = { 'transformer/model.onnx': Buffer.alloc(400_000, 5) };
  return { ...files, 'reelspace.json': manifestOf(files) };
}

describe('pulled models', () => {
  it('are listed, found and removed', async () => {
    assert.deepEqual(await listPulled(cacheFolder), []);
    await pull();
    await mkdir(join(cacheFolder, 'models--other--thing/snapshots', commit), { recursive: true });
    await mkdir(join(cacheFolder, 'datasets--org--name'));
    assert.deepEqual(await listPulled(cacheFolder), [{ ...main, path: await findPulled(cacheFolder, main) }]);
    await removePulled(cacheFolder, 'org/name');
    assert.deepEqual(await listPulled(cacheFolder), []);
    assert.deepEqual((await readdir(cacheFolder)).sort(), ['datasets--org--name', 'models--other--thing']);
    await assert.rejects(removePulled(cacheFolder, 'org/name'), BundleError);
    await assert.rejects(removePulled(cacheFolder, 'other/thing'), /another program brought it/);
    assert.deepEqual((await readdir(cacheFolder)).sort(), ['datasets--org--name', 'models--other--thing']);
  });

  it('are removed as well when their pull broke off, with nothing that another program brought', async () => {
    const root = join(cacheFolder, 'models--org--name');
    for (const path of ['reelspace.json', large, 'tokenizer/tokenizer.json']) {
      hub.fault = faultAt(path, status(404));
      await assert.rejects(pull(), HubError);
      await removePulled(cacheFolder, 'org/name');
      assert.deepEqual(await readdir(cacheFolder), [], path);
    }
    for (const theirs of [commit, 'd'.repeat(40)]) {
      await mkdir(join(root, 'snapshots', theirs), { recursive: true });
      await assert.rejects(pull(), HubError);
      await assert.rejects(removePulled(cacheFolder, 'org/name'), /another program brought it/);
      await rm(root, { recursive: true });
    }
    await assert.rejects(pull(), HubError);
    hub.fault = () => false;
    await pull();
    assert.deepEqual((await readdir(root)).sort(), ['blobs', 'refs', 'snapshots']);
  });

  it('are named org/name or org/name@revision', () => {
    assert.deepEqual(parseRepository('org/name'), main);
    assert.deepEqual(parseRepository('o-r_g/na.me@refs/pr/1'), { name: 'o-r_g/na.me', revision: 'refs/pr/1' });
    for (const text of ['org/name', 'o-r_g/na.me@refs/pr/1']) assert.equal(repositoryText(parseRepository(text)), text);
    for (const text of [
      'name',
      'a/b/c',
      '/a',
      'a/',
      '../b',
      'a/..',
      'a/b@',
      'a/b@..',
      'a/b@../c',
      'a/b@x/../y',
      'a b/c',
      'a--b/c',
      '-a/b',
      'a/.b',
      'a/b@x y',
      'a\\b/c',
      'https://x/y',
    ]) {
      assert.equal(isRepository(text), false, text);
      assert.throws(() => parseRepository(text), InvalidOptionError);
    }
  });
});
