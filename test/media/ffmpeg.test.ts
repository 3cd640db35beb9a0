import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cp, mkdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type FfmpegBinary, findFfmpeg } from '../../src/media/ffmpeg.js';
import { temporaryFolder } from './make-media.js';

const compiled = join(dirname(fileURLToPath(import.meta.url)), '../../src');

interface Outcome {
  binary?: FfmpegBinary;
  error?: { name: string; message: string };
}

/** Looks for ffmpeg in a process of its own, with the given environment. */
async function findWith(source: string, env: Record<string, string>): Promise<Outcome> {
  const script = `import(${JSON.stringify(join(source, 'media/ffmpeg.js'))})
    .then((module) => module.findFfmpeg())
    .then((binary) => ({ binary }), ({ name, message }) => ({ error: { name, message } }))
    .then((outcome) => console.log(JSON.stringify(outcome)))`;
  const { stdout } = await promisify(execFile)(process.execPath, ['-e', script], { env });
  return JSON.parse(stdout) as Outcome;
}

/** Copies the finder to where no npm package is in reach. */
async function withoutPackages(): Promise<string> {
  const folder = await temporaryFolder();
  await mkdir(join(folder, 'media'));
  await cp(join(compiled, 'errors.js'), join(folder, 'errors.js'));
  await cp(join(compiled, 'media/ffmpeg.js'), join(folder, 'media/ffmpeg.js'));
  await writeFile(join(folder, 'package.json'), '{"type":"module"}');
  return folder;
}

test('FFMPEG_PATH wins, and one that does not run is an error that names it', async () => {
  const { path } = await findFfmpeg();
  const named = await findWith(compiled, { FFMPEG_PATH: path, PATH: '' });
  assert.equal(named.binary?.source, 'FFMPEG_PATH');
  assert.equal(named.binary?.path, path);
  assert.match(named.binary?.version ?? '', /^\S+$/);
  assert.equal(named.binary?.warning, undefined);

  const notAProgram = fileURLToPath(import.meta.url);
  for (const wrong of ['/nowhere/ffmpeg', notAProgram, process.execPath]) {
    const { error } = await findWith(compiled, { FFMPEG_PATH: wrong, PATH: dirname(path) });
    assert.equal(error?.name, 'FfmpegNotFoundError', wrong);
    assert.match(error?.message ?? '', /^Expected FFMPEG_PATH to be an ffmpeg program that runs, got /);
  }
});

test('without packages, the ffmpeg on the PATH is used', async () => {
  const { path } = await findFfmpeg();
  const folder = await temporaryFolder();
  await symlink(path, join(folder, 'ffmpeg'));
  const { binary } = await findWith(await withoutPackages(), { PATH: `/nowhere:${folder}` });
  assert.deepEqual([binary?.source, binary?.path], ['PATH', join(folder, 'ffmpeg')]);
});

test('with no ffmpeg anywhere, the error names the ways to get one', async () => {
  const { error } = await findWith(await withoutPackages(), { PATH: '/nowhere' });
  assert.equal(error?.name, 'FfmpegNotFoundError');
  assert.match(error?.message ?? '', /Install ffmpeg.*ffmpeg-static.*FFMPEG_PATH/);
});

test('the npm packages are used in order, and the old one says that it is old', async () => {
  const folder = await withoutPackages();
  const { path } = await findFfmpeg();
  const installed = join(folder, 'node_modules/@ffmpeg-installer/ffmpeg');
  await mkdir(installed, { recursive: true });
  await writeFile(join(installed, 'index.js'), `module.exports = { path: ${JSON.stringify(path)} };`);
  const last = await findWith(folder, { PATH: '/nowhere' });
  assert.equal(last.binary?.source, '@ffmpeg-installer');
  assert.match(last.binary?.warning ?? '', /2018/);

  const packaged = join(folder, 'node_modules/ffmpeg-static');
  await mkdir(packaged);
  // What is left of the package when its download was blocked: a path to nothing.
  await writeFile(join(packaged, 'index.js'), `module.exports = '/nowhere/ffmpeg';`);
  assert.equal((await findWith(folder, { PATH: '/nowhere' })).binary?.source, '@ffmpeg-installer');
  await writeFile(join(packaged, 'index.js'), `module.exports = ${JSON.stringify(path)};`);
  assert.equal((await findWith(folder, { PATH: dirname(path) })).binary?.source, 'ffmpeg-static');
});
