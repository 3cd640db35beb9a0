// Every numbered sample runs, on a bundle of toy width, and leaves what it says.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { familyFixtures } from './families/fixtures.js';
import { HubServer, readFolder } from './hub/hub-server.js';
import { writeTinyLora } from './networks/tiny-model.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const samples = fileURLToPath(new URL('../samples/', import.meta.url));
const tinyBundle = join(root, 'test/fixtures/tiny-bundle');

/** What each sample is asked to write, what is there afterwards, and what its last line looks like. */
const wanted: Readonly<
  Record<
    string,
    { readonly output?: string; readonly needsLora?: boolean; readonly files: readonly string[]; readonly says: RegExp }
  >
> = {
  '01-generate': { output: 'a.mp4', files: ['a.mp4'], says: /a\.mp4: 32x32, 9 frames, \d+ bytes$/ },
  '02-restyle': { output: 'a.mp4', files: ['a.mp4'], says: /a\.mp4: 9 frames at 15 frames a second$/ },
  '03-morph': { output: 'a.mp4', files: ['a.mp4'], says: /a\.mp4: \d+ frames from a pumpkin to a fox$/ },
  '04-animate': { output: 'a.mp4', files: ['a.mp4'], says: /a\.mp4: 9 frames that start at .*first\.png$/ },
  '05-inpaint': { output: 'a.mp4', files: ['a.mp4'], says: /a\.mp4: 9 frames with a cake in them$/ },
  '06-extend': {
    output: 'a.mp4',
    files: ['a-first.mp4', 'a.mp4'],
    says: /a\.mp4: 17 frames, the first 9 of them those of .*a-first\.mp4$/,
  },
  '07-latents': {
    output: 'a.mp4',
    files: ['a.mp4', 'a.safetensors'],
    says: /a\.safetensors: \d+ bytes for 27648 bytes of frames, in .*a\.mp4$/,
  },
  '08-preview': { output: '', files: ['clip.mp4', 'step-01.png'], says: /: \d+ previews and the clip$/ },
  '09-cancel': { output: 'a.mp4', files: [], says: /^Cancelled; no .*a\.mp4 was written\.$/ },
  '10-queue': { output: '', files: ['a dog.mp4', 'a panda.mp4', 'a robot.mp4'], says: /a robot: .*a robot\.mp4$/ },
  '11-frames': { files: [], says: /^frame 8: \d+\.\d$/ },
  '12-step-cache': {
    output: 'a.mp4',
    files: ['a.mp4'],
    says: /a\.mp4: \d+ of 20 calls saved, (\d+\.\d|Infinity) dB from the whole clip$/,
  },
  '13-lora': {
    output: '',
    needsLora: true,
    files: ['scale-0.5.mp4', 'scale-0.mp4', 'scale-1.mp4'],
    says: /: three clips; .*style\.safetensors changes 1 weights of tiny-bundle$/,
  },
  '14-prompts': {
    output: 'a.mp4',
    files: ['a.mp4'],
    says: /a\.mp4: 9 frames, a \(pumpkin:1\.3\) .* -> a \(fox:1\.3\) in a \[forest\]$/,
  },
  '15-pull': { output: 'a.mp4', files: ['a.mp4'], says: /a\.mp4: by org\/name, \d+ bytes$/ },
  '16-control': {
    output: '',
    files: ['loose.mp4', 'whole.mp4'],
    says: /: whole\.mp4 and loose\.mp4 by the edges of .*tree\.mp4$/,
  },
  '17-reference': { output: 'a.mp4', files: ['a.mp4'], says: /a\.mp4: 25 frames of samples\/media\/reel\.png$/ },
};

let folder: string;
let lora: string;
let hub: HubServer;
before(async () => {
  hub = await HubServer.start(await readFolder(tinyBundle));
  folder = await mkdtemp(join(tmpdir(), 'reelspace-samples-'));
  lora = join(folder, 'style.safetensors');
  await writeTinyLora(lora);
});
after(async () => {
  await hub.close();
  await rm(folder, { recursive: true });
});

test('every sample is listed here', async () => {
  const names = (await readdir(samples)).filter((name) => /^\d.*\.js$/.test(name)).map((name) => name.slice(0, -3));
  assert.deepEqual(names.sort(), Object.keys(wanted));
});

for (const [name, { output, needsLora, files, says }] of Object.entries(wanted)) {
  test(`sample ${name}`, async () => {
    const place = await mkdtemp(join(folder, `${name}-`));
    const models: Readonly<Record<string, readonly string[]>> = {
      '15-pull': ['org/name', hub.url, join(folder, 'cache')],
      '16-control': [`${familyFixtures}tiny-sd`],
      '17-reference': ['reel-tiny'],
    };
    const model = models[name] ?? [tinyBundle];
    const arguments_ = [
      ...(output === undefined ? [] : [join(place, output)]),
      ...model,
      ...(needsLora === true ? [lora] : []),
    ];
    const { stdout } = await promisify(execFile)(process.execPath, [join(samples, `${name}.js`), ...arguments_], {
      cwd: root,
    });
    assert.match(stdout.trim().split('\n').at(-1) ?? '', says);
    const made = (await readdir(place)).sort();
    assert.deepEqual(
      made.filter((file) => !/^step-(?!01)/.test(file)),
      files,
    );
    for (const file of made) assert.ok((await stat(join(place, file))).size > 0, file);
  });
}
