// Mistakes on the command line: one line that says what is wrong, and nothing done.
import assert from 'node:assert/strict';
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { runCommandLine } from '../../src/cli/command-line.js';
import { describeFailure, exitCodeOf } from '../../src/cli/failure.js';
import { runCli, tinyBundle } from './run-cli.js';

let folder: string;
before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'reelspace-cli-'));
});
after(() => rm(folder, { recursive: true }));

/** Returns the exit code and the lines on stderr that a command ends with. */
async function failure(...arguments_: string[]): Promise<[number, ...string[]]> {
  try {
    await runCommandLine(arguments_);
  } catch (error) {
    return [exitCodeOf(error), ...describeFailure(error, false).split('\n')];
  }
  return [0];
}

const seeHelp = 'hint: See reelspace generate --help.';

test('what is mistyped is named, with the nearest that exists', async () => {
  assert.deepEqual(await failure(), [2, 'error: Expected a command, got none.', 'hint: See reelspace --help.']);
  assert.deepEqual(await failure('generat', 'x'), [
    2,
    'error: Unknown command "generat".',
    'hint: Did you mean generate? See reelspace --help.',
  ]);
  assert.deepEqual(await failure('generate', 'x', '--fraems', '9'), [
    2,
    'error: Unknown flag --fraems.',
    'hint: Did you mean --frames? See reelspace generate --help.',
  ]);
  for (const flags of [['-o', 'y.mp4'], ['-q'], ['--seed', '3']]) {
    assert.equal((await failure('generat', 'x', ...flags))[1], 'error: Unknown command "generat".', flags[0]);
  }
  assert.equal((await failure('--device', 'cpu', 'generate', 'x', '--stepz', '3'))[1], 'error: Unknown flag --stepz.');
  const line = 'x'.repeat(250_000);
  assert.match(
    (await failure('generate', line))[1] ?? '',
    /^error: Expected arguments to be at most 250000 characters/,
  );
  assert.equal((await failure('models', '-q'))[1], 'error: Unknown flag -q.');
  assert.deepEqual(await failure('generate', 'x', '--zzz=1'), [2, 'error: Unknown flag --zzz.', seeHelp]);
  assert.deepEqual(await failure('generate', 'a', 'cat'), [
    2,
    'error: Unexpected argument "cat".',
    'hint: A text of several words needs quotes around it. See reelspace generate --help.',
  ]);
  assert.deepEqual(await failure('generate', 'x', '--frames'), [
    2,
    'error: Expected a value after --frames, got none.',
    seeHelp,
  ]);
  assert.deepEqual(await failure('models', 'inf', 'x'), [
    2,
    'error: Unknown command "inf".',
    'hint: See reelspace --help.',
  ]);
});

test('what is missing is named', async () => {
  assert.deepEqual(await failure('generate'), [2, 'error: Expected a prompt, got none: what the clip shows.']);
  assert.match(
    (await failure('restyle'))[1] ?? '',
    /^error: Expected reelspace restyle <input> \[prompt\], got too few arguments\.$/,
  );
  assert.match((await failure('inpaint', 'a.mp4', 'x'))[1] ?? '', /^error: Expected --mask, got none: /);
  assert.match(
    (await failure('morph', '', 'x'))[1] ?? '',
    /^error: Expected keyframes to be 2 to 64 texts, none empty, got/,
  );
  assert.match(
    (await failure('reconstruct', '-'))[1] ?? '',
    /^error: Expected input to be the name of a file, got "none or -"\. What/,
  );
  assert.match((await failure('morph'))[1] ?? '', /^error: Expected keyframes, got none: /);
  assert.match(
    (await failure('morph', 'one'))[1] ?? '',
    /^error: Expected keyframes to be 2 to 64 texts, none empty, got \["one"\]\.$/,
  );
});

test('numbers are whole, in range, and given once', async () => {
  for (const [flag, text, rule] of [
    ['frames', 'abc', 'a whole number from 1 to 1000000'],
    ['frames', '', 'a whole number from 1 to 1000000'],
    ['frames', '0x10', 'a whole number from 1 to 1000000'],
    ['frames', '9.5', 'a whole number from 1 to 1000000'],
    ['width', '20000', 'a whole number from 1 to 8192'],
    ['height', '-8', 'a whole number from 1 to 8192'],
    ['fps', '0', 'a number above 0, at most 240'],
    ['steps', 'NaN', 'a whole number from 1 to 1000'],
    ['guidance', 'Infinity', 'a number from 0 to 100'],
    ['guidance-start', '1.5', 'a number from 0 to 1'],
    ['seed', '-1', 'a whole number of at least 0'],
    ['seed', '1e30', 'a whole number of at least 0'],
    ['windows', 'some', 'one of stream, joint'],
    ['cache', '1.5', 'one of off, auto, or a number from 0 to 1'],
    ['cache', '0.1x', 'one of off, auto, or a number from 0 to 1'],
    ['cache', 'on', 'one of off, auto, or a number from 0 to 1'],
  ] as const) {
    const message = `error: Expected --${flag} to be ${rule}, got ${JSON.stringify(text)}.`;
    assert.deepEqual(await failure('generate', 'x', `--${flag}`, text), [2, message]);
  }
  assert.deepEqual(await failure('generate', 'x', '--seed', '1', '--seed', '2'), [
    2,
    'error: Expected --seed to be given once, got ["1", "2"].',
  ]);
});

test('prompts at frames are FRAME=TEXT, once for each frame, and one for frame 0', async () => {
  const rule = 'error: Expected --prompt-at to be NUMBER=TEXT';
  for (const text of ['a fox', '=a fox', 'x=a fox', '-1=a fox', '1.5=a fox']) {
    assert.deepEqual(await failure('generate', '--prompt-at', text), [2, `${rule}, got ${JSON.stringify(text)}.`]);
  }
  assert.deepEqual(await failure('generate', '--prompt-at', '4=a', '--prompt-at', '04=b'), [
    2,
    'error: Expected --prompt-at to be given once for a number, got "04=b".',
  ]);
  assert.match((await failure('generate', 'x', '--prompt-at', '0=a'))[1] ?? '', /one prompt for frame 0/);
  assert.match((await failure('generate', '(x', '--model', tinyBundle))[1] ?? '', /brackets to be balanced/);
});

test('an unknown model, scheduler or device is an error that lists the known ones', async () => {
  const [code, message] = await failure('generate', 'x', '--model', 'nothing');
  assert.deepEqual(
    [code, message?.startsWith('error: Expected model to be the name of a bundled model, got "nothing".')],
    [1, true],
  );
  assert.match((await failure('generate', 'x', '--scheduler', 'rk4'))[1] ?? '', /one of euler, heun, .* got "rk4"\.$/);
  assert.deepEqual(await failure('generate', 'x', '--device', 'tpu'), [
    2,
    'error: Expected --device to be one of auto, cpu, webgpu, cuda, tensorrt, directml, coreml, got "tpu".',
  ]);
});

test('an output that is an input, or no name for latents, is refused before anything runs', async () => {
  const input = join(folder, 'in.mp4');
  await writeFile(input, 'not yet read');
  assert.deepEqual(await failure('restyle', input, 'x', '-o', input), [
    2,
    `error: Expected --output to be another file than the input, got ${JSON.stringify(input)}. Give it another name.`,
  ]);
  const other = join(folder, 'other.mp4');
  await writeFile(other, 'not yet read');
  for (const given of [
    ['inpaint', input, 'x', '--mask', other],
    ['morph', input, other],
    ['generate', 'x', '--control', `edges=${other}:0.5`],
    ['generate', 'x', '--control', `edges=${other}`],
    ['generate', 'x', '--reference', `a.png,${other}`],
  ]) {
    assert.match(
      (await failure(...given, '-o', other))[1] ?? '',
      /^error: Expected --output to be another file/,
      given[0],
    );
  }
  const latents = join(folder, 'x.safetensors');
  await writeFile(latents, 'not yet read');
  for (const given of [
    ['--lora', latents],
    ['-o', latents],
  ]) {
    const [code, message] = await failure('generate', 'x', ...given, '--save-latents', latents);
    assert.equal(code, 2);
    assert.match(message ?? '', /^error: Expected --save-latents to be another file/);
  }
  assert.match((await failure('encode', input, '-o', 'a.mp4'))[1] ?? '', /ends in \.safetensors, got "a\.mp4"/);
  assert.match((await failure('generate', 'x', '--save-latents', 'a.bin'))[1] ?? '', /ends in \.safetensors/);
});

test('what a terminal would obey is written out', async () => {
  const obeyed = '\x1b]52;c;AAAA\x07\x9b2J\u2028\u202e';
  const { stderr } = await runCli(['reconstruct', `${obeyed}.mp4`, '--model', tinyBundle]);
  assert.match(stderr, /\\x1b\]52;c;AAAA\\x07\\x9b2J\\u2028\\u202e\.mp4/);
  const { stdout } = await runCli(['reconstruct', `${obeyed}.mp4`, '--model', tinyBundle, '--json=true']);
  assert.ok(JSON.parse(stdout).error.message.includes(`${obeyed}.mp4`));
  assert.doesNotMatch(stdout, /(?!\n)[\p{Cc}\p{Zl}\p{Bidi_Control}]/u);
  assert.doesNotMatch(stderr, /(?!\n)[\p{Cc}\p{Zl}\p{Bidi_Control}]/u);
});

test('nor does a terminal obey what a model says of itself', async () => {
  const copy = join(folder, 'escapes');
  await cp(tinyBundle, copy, { recursive: true });
  const manifest = join(copy, 'reelspace.json');
  const said = JSON.parse(await readFile(manifest, 'utf8'));
  await writeFile(manifest, JSON.stringify({ ...said, license: 'MIT\x1b[2J' }));
  const { code, stdout } = await runCli(['models', 'info', copy]);
  assert.equal(code, 0);
  assert.match(stdout, /MIT\\x1b\[2J/);
  await rm(copy, { recursive: true });
});

test('a place that latents can not have is told before the first step', async () => {
  for (const given of [
    ['--save-latents', join(folder, 'none/a.safetensors')],
    ['-o', join(folder, 'none/a.safetensors')],
  ]) {
    const output = given[0] === '-o' ? [] : ['-o', join(folder, 'a.mp4')];
    const ended = await runCli(['generate', 'x', '--model', tinyBundle, '--steps', '1000', ...given, ...output]);
    assert.equal(ended.code, 1);
    assert.match(ended.stderr, /error: Expected the folder of .*none\/a\.safetensors to exist/);
    assert.doesNotMatch(ended.stderr, /denoise/);
  }
});

test('a bad run as a process: exit code, one line on stderr, the same as JSON on stdout, nothing left', async () => {
  const output = join(folder, 'out.mp4');
  const common = ['--model', tinyBundle, '--json', '--quiet'];
  const broken = join(folder, 'broken.mp4');
  await writeFile(broken, 'this is no video');
  const before_ = await readdir(folder);
  for (const [code, pattern, ...arguments_] of [
    [
      2,
      /^error: Expected frames to be one more than a multiple of 4, got 24\. The nearest are 21 and 25\.$/,
      'generate',
      'x',
      '--frames',
      '24',
      '-o',
      output,
    ],
    [
      1,
      /^error: Expected .*missing\.mp4 to be a readable file, got no such file\./,
      'restyle',
      join(folder, 'missing.mp4'),
      'x',
      '-o',
      output,
    ],
    [1, /^error: .*broken\.mp4/, 'reconstruct', broken, '-o', output],
    [1, /^error: Expected the folder of .* to exist/, 'generate', 'x', '-o', join(folder, 'no', 'out.mp4')],
    [2, /^error: Expected output name to be one that ends in/, 'generate', 'x', '-o', join(folder, 'out.xyz')],
    [1, /^error: /, 'generate', '--like', broken, '-o', output],
    [
      1,
      /^error: Expected .*broken\.mp4 to be latents that reelspace saved, got "another file"/,
      'decode',
      broken,
      '-o',
      output,
    ],
  ] as const) {
    const ended = await runCli([...arguments_, ...common]);
    const lines = ended.stderr
      .trim()
      .split('\n')
      .filter((line) => !/^(tiny-bundle on|warning:)/.test(line));
    assert.equal(ended.code, code, ended.stderr);
    assert.match(lines[0] ?? '', pattern);
    assert.equal(`error: ${JSON.parse(ended.stdout).error.message}`, lines[0]);
    assert.ok(
      lines.slice(1).every((line) => line.startsWith('hint: ')),
      ended.stderr,
    );
  }
  assert.deepEqual(await readdir(folder), before_);
});

test('what is wrong with an output is told before a model is looked for', async () => {
  const none = ['generate', 'x', '--model', './no-such-model'];
  for (const [pattern, ...flags] of [
    [/^error: Expected output name to be one that ends in/, '-o', 'out.xyz'],
    [/^error: Expected the folder of no\/out\.mp4 to exist/, '-o', 'no/out.mp4'],
    [
      /^error: Expected the folder of no\/z\.safetensors to exist/,
      '-o',
      'out.mp4',
      '--save-latents',
      'no/z.safetensors',
    ],
    [/^error: .*no-such-model/, '-o', 'out.mp4'],
  ] as const) {
    const ended = await runCli([...none, ...flags]);
    assert.notEqual(ended.code, 0);
    assert.match(ended.stderr, pattern);
  }
});

test('a stack trace is there for who asks', async () => {
  const quiet = await runCli(['generate']);
  const debug = await runCli(['generate'], undefined, { REELSPACE_DEBUG: '1' });
  assert.deepEqual([quiet.code, debug.code], [2, 2]);
  assert.doesNotMatch(quiet.stderr, /\n\s+at /);
  assert.match(debug.stderr, /\n\s+at /);
});

test('--lora takes a safetensors file and a number', async () => {
  for (const [text, message] of [
    ['style.ckpt', 'Expected --lora to be file.safetensors[:scale], got "style.ckpt".'],
    ['a.safetensors:strong', 'Expected scale of --lora a.safetensors to be a number, got "strong".'],
    ['a.safetensors:', 'Expected scale of --lora a.safetensors to be a number, got "".'],
  ] as const) {
    assert.deepEqual(await failure('generate', 'x', '--lora', text), [2, `error: ${message}`]);
  }
});

test('--memory and --device take a word of their lists', async () => {
  assert.deepEqual(await failure('generate', 'x', '--memory', 'tiny', '--quiet'), [
    2,
    'error: Expected --memory to be one of low, balanced, high, got "tiny".',
  ]);
});
