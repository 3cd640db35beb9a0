// `reelspace models` as its users run it, against a hub on this machine.
import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { HubServer, readFolder } from '../hub/hub-server.js';
import { runCli, tinyBundle } from './run-cli.js';

let hub: HubServer;
let home: string;
before(async () => {
  hub = await HubServer.start(await readFolder(tinyBundle));
  home = await mkdtemp(join(tmpdir(), 'reelspace-home-'));
});
after(async () => {
  await hub.close();
  await rm(home, { recursive: true });
});

const run = (arguments_: readonly string[], environment: Readonly<Record<string, string>> = {}) =>
  runCli(arguments_, undefined, { HF_ENDPOINT: hub.url, HF_HOME: home, HF_TOKEN: '', ...environment });

test('a model is pulled, listed, used, verified and removed', async () => {
  const missing = await run(['generate', 'a cat', '--model', 'org/name']);
  assert.equal(missing.code, 1);
  assert.match(missing.stderr, /got "org\/name"\. Run reelspace models pull org\/name\.$/m);

  const pulled = await run(['models', 'pull', 'org/name', '--json'], { HF_TOKEN: 'secret\n' });
  assert.equal(pulled.code, 0, pulled.stderr);
  const { path, commit } = JSON.parse(pulled.stdout);
  assert.equal(path, join(home, 'hub/models--org--name/snapshots', commit));
  assert.ok(hub.requests.every(({ headers }) => headers.authorization === 'Bearer secret'));
  assert.match(pulled.stderr, /^\d.* of \d.* kB, transformer\/model\.onnx$/m);

  assert.match((await run(['models'])).stdout, /^org\/name$/m);
  assert.match((await run(['models', 'info', 'org/name'])).stdout, /^name +tiny-bundle$/m);
  const output = join(home, 'a.mp4');
  const small = ['--width', '24', '--height', '24', '--steps', '1', '--frames', '5', '--device', 'cpu'];
  const made = await run(['generate', 'a cat', '--model', 'org/name', ...small, '-o', output, '--json'], {
    HF_HUB_OFFLINE: '1',
  });
  assert.equal(made.code, 0, made.stderr);
  assert.equal((await run(['models', 'verify', 'org/name'])).code, 0);

  const examined = async () => {
    const { ok, findings } = JSON.parse((await run(['doctor', '--json'])).stdout);
    const { state, text } = findings.find(({ about }: { about: string }) => about === 'model org/name');
    return { ok, state, text };
  };
  const whole = await examined();
  assert.match(whole.text, /^\d+ files, not hashed: reelspace models verify org\/name does$/);
  await rm(join(path, 'tokenizer/tokenizer.json'));
  const { ok, state, text } = await examined();
  assert.deepEqual([whole.state, state, ok], ['ok', 'warning', whole.ok]);
  assert.match(text, /lacks tokenizer\/tokenizer\.json\. Get the bundle again\.$/);
  assert.equal((await run(['models', 'pull', 'org/name'])).code, 0);
  assert.deepEqual(await examined(), whole);

  const offline = await run(['models', 'pull', 'org/name'], { HF_HUB_OFFLINE: '1' });
  assert.deepEqual([offline.code, /HF_HUB_OFFLINE is set/.test(offline.stderr)], [1, true]);
  assert.equal((await run(['models', 'rm', 'org/name'])).stdout, 'org/name is removed.\n');
  assert.deepEqual(await readdir(join(home, 'hub')), []);
  assert.equal((await run(['models', 'rm', 'org/name'])).code, 1);
});

test('names and tokens that make no sense are errors that keep the token to themselves', async () => {
  for (const name of ['name', '../x', 'a/b/c', 'org/name@', 'https://x/y']) {
    const { code, stderr } = await run(['models', 'pull', name]);
    assert.deepEqual(
      [code, /^error: Expected model to be org\/name or org\/name@revision/.test(stderr)],
      [2, true],
      name,
    );
  }
  assert.equal((await run(['models', 'rm', 'reel-tiny'])).code, 2);
  assert.equal((await run(['models', 'rm', 'org/name@v1'])).code, 2);
  const { code, stderr } = await run(['models', 'pull', 'org/name'], { HF_TOKEN: 'top secret' });
  assert.deepEqual([code, stderr.includes('top secret')], [2, false]);
});
