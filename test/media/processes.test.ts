import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { CancelledError, FfmpegError } from '../../src/errors.js';
import { startFfmpeg } from '../../src/media/command.js';
import { findFfmpeg } from '../../src/media/ffmpeg.js';
import { readFrames } from '../../src/media/read-frames.js';
import { createVideoWriter } from '../../src/media/write-frames.js';
import { childProcesses, solidFrame, temporaryFolder, testClip } from './make-media.js';

const folder = await temporaryFolder();
const room = join(folder, 'room');
await mkdir(room);
// Long enough that ffmpeg can't be through with it before its reader is.
const clip = await testClip(join(folder, 'clip.mp4'), {
  size: '320x240',
  seconds: 60,
  options: ['-preset', 'ultrafast'],
});
const size = { width: 320, height: 240, frameRate: 10 };
const frame = solidFrame(320, 240, [90, 120, 150]);
const source = (name: string) => JSON.stringify(fileURLToPath(new URL(`../../src/media/${name}`, import.meta.url)));
const onLinux = { skip: process.platform !== 'linux' && 'reads the process list of Linux' };

/** Runs a script in a process of its own and returns it with the first line that it prints. */
async function runUntilPrinted(script: string, env: NodeJS.ProcessEnv = process.env) {
  const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
    env,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const [printed] = (await once(child.stdout, 'data')) as [Buffer];
  return { child, printed: printed.toString().trim() };
}

const isRunning = (pid: number) => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

test('leaving the loop ends ffmpeg', onLinux, async () => {
  for await (const _ of readFrames(clip)) {
    assert.equal((await childProcesses()).length, 1);
    break;
  }
  assert.deepEqual(await childProcesses(), []);
  await assert.rejects(async () => {
    for await (const _ of readFrames(clip)) throw new Error('of the consumer');
  }, /of the consumer/);
  assert.deepEqual(await childProcesses(), []);
});

test('a fired signal ends reading with CancelledError, also before the start and while waiting', onLinux, async () => {
  const early = AbortSignal.abort();
  await assert.rejects(readFrames(clip, { signal: early }).next(), CancelledError);

  const controller = new AbortController();
  let count = 0;
  await assert.rejects(async () => {
    for await (const _ of readFrames(clip, { signal: controller.signal })) {
      if (++count === 3) controller.abort();
    }
  }, CancelledError);
  assert.ok(count < 10, `${count} frames after the abort`);

  const waiting = new AbortController();
  const pending = readFrames(clip, { signal: waiting.signal }).next();
  waiting.abort();
  await assert.rejects(pending, CancelledError);
  assert.deepEqual(await childProcesses(), []);
});

test('a fired signal or abort() ends writing, and nothing is left', onLinux, async () => {
  for (const name of ['out.mp4', 'out.gif', 'out.webm', 'out/', 'out_%d.png']) {
    const controller = new AbortController();
    const cancelled = await createVideoWriter(join(room, name), { ...size, signal: controller.signal });
    await cancelled.write(frame);
    controller.abort();
    await assert.rejects(cancelled.write(frame), CancelledError, name);
    await assert.rejects(cancelled.finish(), CancelledError, name);

    const aborted = await createVideoWriter(join(room, name), size);
    const writing = aborted.write(frame);
    await aborted.abort();
    await writing.catch((error) => assert.ok(error instanceof CancelledError, `${error}`)); // or it was in time
    assert.deepEqual(await readdir(room), [], name);
    assert.deepEqual(await childProcesses(), [], name);
  }
  await assert.rejects(
    createVideoWriter(join(room, 'out.mp4'), { ...size, signal: AbortSignal.abort() }),
    CancelledError,
  );
});

test('an ffmpeg that is killed from outside is an error, not an end', onLinux, async () => {
  const kill = async () => {
    for (const pid of await childProcesses()) process.kill(pid, 'SIGKILL');
  };
  await assert.rejects(async () => {
    let count = 0;
    for await (const _ of readFrames(clip)) if (++count === 2) await kill();
  }, FfmpegError);
  const writer = await createVideoWriter(join(room, 'out.mp4'), size);
  await writer.write(frame);
  await kill();
  await assert.rejects(async () => {
    for (let time = 0; time < 20; time++) await writer.write(frame);
    await writer.finish();
  }, FfmpegError);
  assert.deepEqual(await readdir(room), []);
});

test('an ffmpeg that ignores the request to end is ended', onLinux, async () => {
  const { path } = await findFfmpeg();
  const stubborn = join(folder, 'stubborn');
  // Answers questions about itself, but hangs on work and ignores SIGTERM.
  await writeFile(
    stubborn,
    `#!/bin/sh\ncase "$1" in -version|-formats|-encoders) exec "${path}" "$@";; esac\ntrap '' TERM\nwhile :; do read -r line || :; done\n`,
  );
  await chmod(stubborn, 0o755);
  const script = `
    import { createVideoWriter } from ${source('write-frames.js')};
    const controller = new AbortController();
    const writer = await createVideoWriter(${JSON.stringify(join(room, 'out.mp4'))}, { width: 2048, height: 2048, frameRate: 10, signal: controller.signal });
    const data = new Uint8Array(2048 * 2048 * 3);
    const pending = writer.write({ width: 2048, height: 2048, data });
    controller.abort();
    await pending.then(() => writer.finish()).catch((error) => console.log(error.name));`;
  const run = promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], {
    env: { ...process.env, FFMPEG_PATH: stubborn },
  });
  assert.equal((await run).stdout, 'CancelledError\n');
});

test('when the process exits in the middle, ffmpeg and the partial file go with it', onLinux, async () => {
  const script = (end: string) => `
    import { readdirSync, readFileSync } from 'node:fs';
    import { createVideoWriter } from ${source('write-frames.js')};
    const writer = await createVideoWriter(${JSON.stringify(join(room, 'out.mp4'))}, ${JSON.stringify(size)});
    await writer.write({ width: 320, height: 240, data: new Uint8Array(320 * 240 * 3) });
    const child = readdirSync('/proc').find((pid) => {
      try { return new RegExp('[)] [A-Z] ' + process.pid + ' ').test(readFileSync('/proc/' + pid + '/stat', 'utf8')); } catch { return false; }
    });
    console.log(child);
    ${end}`;
  for (const end of ['process.exit(130);', 'throw new Error("uncaught");', 'setInterval(() => {}, 1000);']) {
    const { child, printed } = await runUntilPrinted(script(end));
    if (end.startsWith('setInterval')) {
      // Killed outright, it can't clear up the file, but ffmpeg sees the end of its input.
      child.kill('SIGKILL');
    }
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    const pid = Number(printed);
    assert.ok(pid > 0);
    while (isRunning(pid)) await setTimeout(20); // the end of a grandchild tells nobody
    if (!end.startsWith('setInterval')) assert.deepEqual(await readdir(room), [], end);
  }
});

test('what ffmpeg can do is asked once, beside other work where that has been begun', onLinux, async () => {
  const { path } = await findFfmpeg();
  const [logging, log] = [join(folder, 'logging'), join(folder, 'log')];
  await writeFile(logging, `#!/bin/sh\necho "$1" >> "${log}"\nexec "${path}" "$@"\n`);
  await chmod(logging, 0o755);
  const script = `
    import { readFileSync } from 'node:fs';
    import { learnCapabilities, runFfmpeg } from ${source('command.js')};
    await learnCapabilities();
    console.log(readFileSync(${JSON.stringify(log)}, 'utf8').trim().split('\\n').sort().join());
    for (let time = 0; time < 2; time++) {
      await runFfmpeg({ inputs: [{ source: ${JSON.stringify(clip)} }], options: ['-frames:v', '1', '-f', 'null'], output: 'pipe:1' });
    }`;
  const env = { ...process.env, FFMPEG_PATH: logging };
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], { env });
  assert.equal(stdout, '-encoders,-formats,-version\n');
  const asked = (await readFile(log, 'utf8')).trim().split('\n');
  assert.deepEqual(asked.toSorted(), ['-encoders', '-formats', '-hide_banner', '-hide_banner', '-version']);
});

test('an ffmpeg that the system refuses to start is an FfmpegError', onLinux, async () => {
  const options = ['-metadata', `comment=${'x'.repeat(200_000)}`, '-f', 'null'];
  await assert.rejects(
    startFfmpeg({ inputs: [{ source: clip }], options, output: 'pipe:1' }),
    (error: unknown) => error instanceof FfmpegError && /^ffmpeg can't be started: spawn E2BIG/.test(error.message),
  );
});
