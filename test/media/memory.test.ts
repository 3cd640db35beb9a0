import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { FrameSink } from '../../src/media/frame-sink.js';
import { temporaryFolder, testClip } from './make-media.js';

const folder = await temporaryFolder();
const source = (name: string) => JSON.stringify(fileURLToPath(new URL(`../../src/media/${name}`, import.meta.url)));

test('a sink takes bytes in any portions, and no more than it may hold until frames are taken', async () => {
  const sink = new FrameSink(2, 1);
  const bytes = Uint8Array.from({ length: 6 * 5 }, (_, at) => at);
  let accepted = 0;
  for (let at = 0; at < bytes.length; at += 3) sink.write(bytes.subarray(at, at + 3), () => accepted++);
  sink.end();
  const settled = () => new Promise((resolve) => setImmediate(resolve));
  await settled();
  assert.equal(accepted, 3, 'portions of three bytes before the second frame is whole');
  for (let time = 0; time < 5; time++) {
    const frame = await sink.take();
    assert.deepEqual(frame, { width: 2, height: 1, data: bytes.slice(time * 6, time * 6 + 6) });
    await settled();
    assert.equal(accepted, Math.min(10, 5 + time * 2));
  }
  assert.equal(await sink.take(), undefined);
});

/** Returns the peak memory in MiB of a process that runs the script. */
async function peakMemory(script: string): Promise<number> {
  const whole = `${script}\nconsole.log(process.resourceUsage().maxRSS / 1024);`;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', whole]);
  return Number(stdout);
}

test('memory does not grow with the length of a clip, read by a slow reader', async () => {
  const clip = join(folder, 'clip.mkv');
  await testClip(clip, { size: '640x360', seconds: 40, options: ['-c:v', 'mpeg4', '-q:v', '5'] });
  const script = (maxFrames: number) => `
    import { readFrames } from ${source('read-frames.js')};
    let count = 0;
    for await (const frame of readFrames(${JSON.stringify(clip)}, { maxFrames: ${maxFrames} })) {
      count++;
      // Turns of the event loop in which ffmpeg's output could pile up.
      for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
    }
    if (count !== ${maxFrames}) throw new Error('got ' + count + ' frames');`;
  const short = await peakMemory(script(20));
  const long = await peakMemory(script(400));
  // The 400 frames hold 264 MiB.
  assert.ok(long - short < 80, `${short.toFixed(0)} MiB for 20 frames, ${long.toFixed(0)} for 400`);
});

test('memory does not grow with the length of a clip, written faster than ffmpeg encodes', async () => {
  const script = (numFrames: number) => `
    import { createVideoWriter } from ${source('write-frames.js')};
    const writer = await createVideoWriter(${JSON.stringify(join(folder, 'out.mp4'))}, { width: 640, height: 360, frameRate: 10 });
    for (let time = 0; time < ${numFrames}; time++) {
      await writer.write({ width: 640, height: 360, data: new Uint8Array(640 * 360 * 3).fill(time) });
    }
    const { numFrames } = await writer.finish();
    if (numFrames !== ${numFrames}) throw new Error('wrote ' + numFrames);`;
  const short = await peakMemory(script(20));
  const long = await peakMemory(script(400));
  assert.ok(long - short < 80, `${short.toFixed(0)} MiB for 20 frames, ${long.toFixed(0)} for 400`);
});
