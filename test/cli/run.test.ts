// Whole runs as their users start them, on a bundle of toy width.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, test } from 'node:test';
import type { RunReport } from '../../src/cli/run-report.js';
import { probe } from '../../src/media/probe.js';
import type { GraphSize } from '../../src/networks/inspect.js';
import { openSafetensors, writeSafetensors } from '../../src/tensor/safetensors.js';
import type { Tensor } from '../../src/tensor/tensor.js';
import { familyFixtures } from '../families/fixtures.js';
import { writeTinyLora } from '../networks/tiny-model.js';
import { runCli, shellCode, startCli, tinyBundle } from './run-cli.js';

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'reelspace-run-'));
});
beforeEach(async () => {
  for (const name of await readdir(folder)) await rm(join(folder, name), { recursive: true });
});
after(() => rm(folder, { recursive: true }));

const model = ['--model', tinyBundle];
const atTinySize = [...model, '--width', '32', '--height', '40', '--device', 'cpu'];
const small = [...atTinySize, '--steps', '3'];

async function report(...arguments_: string[]): Promise<RunReport> {
  const { code, stdout, stderr } = await runCli([...arguments_, '--json']);
  assert.equal(code, 0, stderr);
  assert.equal(stdout.trim().split('\n').length, 1);
  return JSON.parse(stdout);
}

async function tensorsOf(path: string): Promise<Record<string, Tensor>> {
  const file = await openSafetensors(path);
  const tensors: Record<string, Tensor> = {};
  for (const name of file.entries.keys()) tensors[name] = await file.read(name);
  await file.close();
  return tensors;
}

test('generate says what it made; --like makes the same bytes again, and flags go before it', async () => {
  const [first, again, other] = ['first.mp4', 'again.mp4', 'other.mp4'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  const made = await report(
    'generate',
    'a cat',
    ...small,
    '--frames',
    '13',
    '--fps',
    '10',
    '--negative',
    '',
    '-o',
    first,
  );
  assert.deepEqual(
    [made.output, made.frames, made.width, made.height, made.frameRate, made.device, made.warnings.length],
    [first, 13, 32, 40, 10, 'cpu', made.warnings.filter((text) => text.includes('ffmpeg')).length],
  );
  assert.equal(made.seed, made.settings.seed);
  assert.deepEqual([made.settings.prompt, made.settings.steps, made.settings.negativePrompt], ['a cat', 3, '']);
  assert.deepEqual(Object.keys(made.stageSeconds).sort(), ['decode', 'denoise', 'prompt', 'write']);
  assert.ok(made.seconds > 0 && made.peakRssBytes > 1e7);
  assert.equal(made.sizeBytes, (await readFile(first)).length);
  const info = await probe(first);
  assert.deepEqual([info.width, info.height, info.frameRate], [32, 40, 10]);

  assert.deepEqual((await report('generate', ...model, '--like', first, '-o', again)).settings, made.settings);
  assert.deepEqual(await readFile(again), await readFile(first));
  const changed = await report('generate', 'a dog', ...model, '--like', first, '--seed', '5', '-o', other);
  assert.deepEqual(changed.settings, { ...made.settings, prompt: 'a dog', seed: 5 });
});

test('--like knows where a model came from, reads latents too, and tells what it reads', async () => {
  const [copy, latents, made, again] = ['copy', 'a.safetensors', 'made.mp4', 'again.mp4'].map((name) =>
    join(folder, name),
  ) as [string, string, string, string];
  await cp(tinyBundle, copy, { recursive: true });
  const first = 'test/goldens/first.png';
  const lora = join(folder, 'lora.safetensors');
  await writeTinyLora(lora);
  const asked = [
    'animate',
    first,
    'a cat',
    '--lora',
    lora,
    ...small.slice(2),
    '--frames',
    '5',
    '--model',
    copy,
    '--seed',
    '2',
  ];
  const { settings } = await report(...asked, '--save-latents', latents, '-o', made);
  assert.equal(settings.model, copy);
  for (const source of [made, latents]) {
    const { code, stdout, stderr } = await runCli(['animate', first, '--like', source, '-o', again, '--json']);
    assert.equal(code, 0, stderr);
    assert.deepEqual(JSON.parse(stdout).settings, settings, source);
    assert.ok(stderr.includes(`${lora} is read because ${source} says so.\n`), stderr);
    assert.ok(stderr.includes(`The model is ${copy} because ${source} says so.\n`), stderr);
    assert.doesNotMatch(stderr, /first\.png is read/);
    assert.deepEqual(await readFile(again), await readFile(made), source);
  }
});

test('without -o each run has a name of its own, also beside another, and one that fails leaves none', async () => {
  const run = (...more: string[]) =>
    runCli(['generate', 'a cat', ...small, '--frames', '5', '--quiet', ...more], undefined, {}, folder);
  const ended = await Promise.all([run(), run(), run('--tile', '1000000')]);
  assert.deepEqual(
    ended.map(({ code }) => code),
    [0, 0, 2],
  );
  assert.equal((await run('--steps', '1', '--control', 'edges=none.mp4')).code, 2);
  const names = (await readdir(folder)).sort();
  assert.equal(names.length, 2, String(names));
  for (const name of names) assert.ok((await readFile(join(folder, name))).length > 0, name);
  assert.match((await run()).stdout, /^generate(-\d)?\.mp4\n/);
  assert.equal((await readdir(folder)).length, 3);
});

test('without -o a picture stays a picture', async () => {
  const picture = join(folder, 'picture.png');
  await cp('test/goldens/first.png', picture);
  const asked = ['restyle', picture, 'a cat', ...small, '--quiet'];
  const { code, stdout, stderr } = await runCli(asked, undefined, {}, folder);
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^restyle\.png\n/);
  assert.equal((await probe(join(folder, 'restyle.png'))).isStill, true);
});

test('a prompt may be as long as a command line', async () => {
  const output = join(folder, 'a.png');
  const { settings } = await report('generate', 'x'.repeat(60_000), ...small, '--frames', '1', '-o', output);
  assert.equal(String(settings.prompt).length, 60_000);
});

test('--cache leaves out calls, says how many, and is one of the settings', async () => {
  const output = join(folder, 'a.mp4');
  const options = [...atTinySize, '--steps', '8', '--seed', '4', '-o', output];
  assert.deepEqual((await report('generate', 'a cat', ...options)).calls, { made: 8, saved: 0 });
  const { calls, settings } = await report('generate', 'a cat', ...options, '--cache', '1');
  assert.ok(calls !== undefined && calls.saved > 0 && calls.made + calls.saved === 8, JSON.stringify(calls));
  assert.equal(settings.cache, 1);
  assert.deepEqual((await report('generate', ...model, '--like', output, '-o', output)).calls, calls);
  const { stdout } = await runCli(['generate', ...model, '--like', output, '-o', output]);
  assert.match(stdout, new RegExp(`^  ${calls.saved} of 8 network calls saved`, 'm'));
});

test('--lora changes a clip, and --like remembers it', async () => {
  const [lora, plain, changed, again, more] = ['a.safetensors', 'plain.mp4', 'changed.mp4', 'again.mp4', 'b.mp4'].map(
    (name) => join(folder, name),
  ) as [string, string, string, string, string];
  await writeTinyLora(lora);
  const asked = ['generate', 'a cat', ...small, '--frames', '5', '--seed', '3'];
  await report(...asked, '-o', plain);
  const made = await report(...asked, '--lora', `${lora}:-0.5`, '--lora', lora, '-o', changed);
  assert.deepEqual(made.settings.loras, [
    { path: lora, scale: -0.5 },
    { path: lora, scale: 1 },
  ]);
  assert.notDeepEqual(await readFile(changed), await readFile(plain));
  assert.deepEqual((await report('generate', ...model, '--like', changed, '-o', again)).settings, made.settings);
  assert.deepEqual(await readFile(again), await readFile(changed));
  const partial = ['--lora', lora, '--lora-partial'];
  await writeSafetensors(lora, { ...(await tensorsOf(lora)), strange: { shape: [1], data: Float32Array.of(1) } });
  const passed = await report(...asked, ...partial, '-o', more);
  assert.equal(passed.settings.loraPartial, true);
  assert.match(passed.warnings.join('\n'), /a\.safetensors: passed over strange\./);
  assert.deepEqual((await report('generate', ...model, '--like', more, '-o', more)).settings, passed.settings);
});

test('--control is given once or several times, and --like remembers it', async () => {
  const drawn = `${familyFixtures}tiny-sd-control-drawn.png`;
  const [one, two, again] = ['one.mp4', 'two.mp4', 'again.mp4'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  const controlled = ['--model', `${familyFixtures}tiny-sd`];
  const asked = ['generate', 'a cat', ...controlled, '--width', '32', '--height', '16', '--steps', '2', '--seed', '3'];
  const controls = [`edges=${drawn}:0.8:0:0.5`, `depth=${drawn}`];
  const made = await report(...asked, '--control', controls[0] ?? '', '--control', controls[1] ?? '', '-o', two);
  assert.deepEqual(made.settings.control, controls);
  assert.equal((await report(...asked, '--control', controls[0] ?? '', '-o', one)).settings.control, controls[0]);
  assert.notDeepEqual(await readFile(one), await readFile(two));
  assert.deepEqual((await report('generate', ...controlled, '--like', two, '-o', again)).settings, made.settings);
  assert.deepEqual(await readFile(again), await readFile(two));
});

test('--like of another command gives prompt and sampling, not size and length', async () => {
  const first = join(folder, 'first.mp4');
  await report('generate', 'a cat', ...small, '--frames', '13', '--seed', '4', '-o', first);
  const longer = await report(
    'extend',
    first,
    ...model,
    '--like',
    first,
    '--frames',
    '4',
    '-o',
    join(folder, 'longer.mp4'),
  );
  assert.equal(longer.frames, 17);
  assert.deepEqual([longer.settings.prompt, longer.settings.seed, longer.settings.steps], ['a cat', 4, 3]);
});

test('latents that were kept decode to the same clip', async () => {
  const [whole, again] = [join(folder, 'whole.png'), join(folder, 'again.png')];
  const latents = join(folder, 'clip.safetensors');
  const made = await report('generate', 'a cat', ...small, '--frames', '1', '--save-latents', latents, '-o', whole);
  assert.equal(made.latents, latents);
  const decoded = await report('decode', latents, ...model, '-o', again);
  assert.deepEqual([decoded.frames, decoded.settings.prompt], [1, 'a cat']);
  assert.deepEqual(await readFile(again), await readFile(whole));
  assert.deepEqual((await readdir(folder)).sort(), ['again.png', 'clip.safetensors', 'whole.png']);
});

test('encode and decode are reconstruct in two halves', async () => {
  const [latents, decoded, reconstructed] = ['a.safetensors', 'decoded/', 'reconstructed/'].map((name) =>
    join(folder, name),
  ) as [string, string, string];
  const source = 'test/goldens/short.mkv';
  const size = [...model, '--width', '24', '--height', '40', '--frames', '5'];
  await report('encode', source, ...size, '-o', latents);
  await report('decode', latents, ...model, '-o', decoded);
  const whole = await report('reconstruct', source, ...size, '-o', reconstructed);
  const names = await readdir(reconstructed);
  assert.deepEqual([whole.frames, names.length], [5, 5]);
  for (const name of names) {
    assert.deepEqual(await readFile(join(decoded, name)), await readFile(join(reconstructed, name)), name);
  }
});

test('an interrupted run exits with 130 and leaves nothing', async () => {
  let sent = false;
  const ended = await runCli(
    [
      'generate',
      'a cat',
      ...small.slice(0, -4),
      '--steps=1000',
      '--save-latents',
      join(folder, 'a.safetensors'),
      '-o',
      join(folder, 'a.mp4'),
    ],
    (text, kill) => {
      if (sent || !text.includes('denoise')) return;
      sent = true;
      kill('SIGINT');
    },
  );
  assert.deepEqual([ended.code, ended.stdout], [130, '']);
  assert.match(ended.stderr, /\nerror: The run was interrupted\.\n$/);
  assert.deepEqual(await readdir(folder), []);
});

test('interrupted twice it ends at once, and leaves nothing', async () => {
  const signals: NodeJS.Signals[] = ['SIGINT', 'SIGTERM'];
  const ended = await runCli(
    ['reconstruct', 'samples/media/tree.mp4', ...model, '-o', join(folder, 'a.mp4')],
    (text, kill) => {
      // A third one, while the process ends, would end it as the system does.
      const signal = text.includes(signals.length === 2 ? 'encode' : 'Stopping') ? signals.shift() : undefined;
      if (signal !== undefined) kill(signal);
    },
  );
  assert.equal(shellCode(ended), 130);
  assert.deepEqual(await readdir(folder), []);
});

test('a reader that goes away is no failure', async () => {
  const child = startCli(['models', '--json']);
  // The pipe is closed long before the first word is written.
  child.stdout.destroy();
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const [code] = await once(child, 'close');
  assert.deepEqual([code, stderr], [0, '']);
});

test('models and doctor speak JSON', async () => {
  const listed = await runCli(['models', '--json']);
  assert.ok(Array.isArray(JSON.parse(listed.stdout).models));
  const shown = await runCli(['models', 'info', tinyBundle, '--json']);
  const { manifest, graphs, memoryBytes } = JSON.parse(shown.stdout);
  assert.equal(manifest.name, 'tiny-bundle');
  assert.ok(memoryBytes > graphs.reduce((total: number, graph: GraphSize) => total + graph.memoryBytes, 0));
  const half = await runCli(['models', 'info', `${familyFixtures}tiny-wan-half`]);
  assert.match(half.stdout, /^denoiser +\d+\.\d M parameters, float16, 0\.05 % off float32, \d/m);
  assert.match(half.stdout, /^vaeDecoder +\d+\.\d M parameters, float32, \d/m);
  assert.match(half.stdout, /^memory +about \d+ MB at 832x480/m);
  assert.deepEqual(
    graphs.map(({ graph }: { graph: string }) => graph),
    ['textEncoder', 'denoiser', 'vaeEncoder', 'vaeDecoder'],
  );
  const bundled = await runCli(['models', 'info', 'reel-tiny']);
  // Many names take several lines, one below the other.
  const lines = bundled.stdout.split('\n');
  const things = lines.slice(
    lines.findIndex((line) => line.startsWith('things ')),
    lines.findIndex((line) => line.startsWith('scenes ')),
  );
  assert.ok(things.length > 5 && things.every((line) => line.length < 120));
  const at = things[0]?.search(/(?<= {2})\w/) ?? 0;
  const { vocabulary } = JSON.parse((await runCli(['models', 'info', 'reel-tiny', '--json'])).stdout).manifest;
  assert.deepEqual(
    things
      .map((line) => line.slice(at))
      .join(' ')
      .split(', '),
    vocabulary.things.toSorted(),
  );
  assert.ok(things.slice(1).every((line) => line.startsWith(' '.repeat(at))));
  assert.match(bundled.stdout, /^styles +comic, neon sign, .*pencil sketch, /m);
  const verified = await runCli(['models', 'verify', tinyBundle, '--json']);
  assert.equal(JSON.parse(verified.stdout).ok, true);
  const examined = await runCli(['doctor', '--json']);
  const { ok, findings } = JSON.parse(examined.stdout);
  assert.equal(examined.code, ok ? 0 : 1);
  const states = new Map(findings.map(({ about, state }: { about: string; state: string }) => [about, state]));
  assert.deepEqual([states.get('ffmpeg') === 'missing', states.get('device cpu')], [false, 'ok']);
});

test('a bundle that was altered does not verify', async () => {
  const copy = join(folder, 'copy');
  await cp(tinyBundle, copy, { recursive: true });
  const path = join(copy, 'tokenizer', 'tokenizer.json');
  const text = await readFile(path, 'utf8');
  await writeFile(
    path,
    text.replace(/\d/, (digit) => String(9 - Number(digit))),
  );
  const { code, stderr } = await runCli(['models', 'verify', copy]);
  assert.equal(code, 1);
  assert.match(stderr, /^error: .*tokenizer\.json has another SHA-256/);
});
