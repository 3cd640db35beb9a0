import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, readdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { crc32, deflateSync } from 'node:zlib';
import sharp from 'sharp';
import { MediaError } from '../../src/errors.js';
import type { Frame } from '../../src/media/frame.js';
import { probe } from '../../src/media/probe.js';
import { readFrames } from '../../src/media/read-frames.js';
import { childProcesses, patchFrame, temporaryFolder, testClip } from './make-media.js';

const folder = await temporaryFolder();
const file = (name: string) => join(folder, name);

/** Checks that reading and probing fail with one line of that form, and returns the frames that came first. */
async function assertRefused(path: string, message: RegExp, { probes = true } = {}): Promise<Frame[]> {
  const frames: Frame[] = [];
  const check = (error: unknown) => {
    assert.ok(error instanceof MediaError, `${path}: ${error}`);
    assert.match(error.message, message);
    assert.ok(!error.message.includes('\n'));
    return true;
  };
  await assert.rejects(async () => {
    for await (const frame of readFrames(path)) frames.push(frame);
  }, check);
  if (probes) await assert.rejects(probe(path), check);
  return frames;
}

test('a pipe that nobody writes to', {
  skip: process.platform === 'win32' && 'Windows has no such files',
}, async () => {
  await promisify(execFile)('mkfifo', [file('pipe.mp4')]);
  await assertRefused(file('pipe.mp4'), /to be a file, got a folder or device/);
});

test('missing, a folder, empty, text and random bytes', async () => {
  await assertRefused(
    file('nowhere.mp4'),
    /Expected .*nowhere\.mp4 to be a readable file, got no such file\. Check the name\./,
  );
  await assertRefused(join(file('nowhere'), 'x.mp4'), /got no such file/);
  await assertRefused(folder, /to be a file, got a folder or device/);
  await writeFile(file('empty.mp4'), '');
  await assertRefused(file('empty.mp4'), /got an empty file/);
  for (const name of ['text.mp4', 'text.gif', 'text.webm']) {
    await writeFile(file(name), 'just some words\n'.repeat(200));
    await assertRefused(file(name), /to be a media file, got something else/);
  }
  const noise = Buffer.from(Array.from({ length: 20000 }, (_, at) => (at * at * 31 + at * 17) % 251));
  await writeFile(file('noise.mp4'), noise);
  await assertRefused(file('noise.mp4'), /Expected .*noise\.mp4 to/);
});

test('sound alone has no pictures', async () => {
  const path = file('sound.m4a');
  await testClip(path, { audioSeconds: 1, options: ['-vn', '-c:a', 'aac'] });
  await assertRefused(path, /to hold pictures, got none/);
});

test('a file that breaks off yields what is there, then says so', async () => {
  const clip = { seconds: 4, size: '160x120', options: ['-c:v', 'libx264', '-g', '10'] };
  const cut = async (name: string, options: string[]) => {
    const path = await testClip(file(name), { ...clip, options: [...clip.options, ...options] });
    const { length } = await readFile(path);
    await truncate(path, Math.floor(length * 0.6));
    return path;
  };
  for (const name of ['cut.mkv', 'cut.mp4']) {
    const path = await cut(name, name.endsWith('.mp4') ? ['-movflags', '+faststart'] : []);
    const frames = await assertRefused(path, /to be whole, got a file that breaks off after \d+ frames/, {
      probes: false,
    });
    assert.ok(frames.length > 5 && frames.length < 40, `${name}: ${frames.length} frames`);
    // Reading no further than the damage is fine.
    let count = 0;
    for await (const _ of readFrames(path, { maxFrames: 3 })) count++;
    assert.equal(count, 3);
  }
  await assertRefused(await cut('no-index.mp4', []), /got an MP4 cut off before its index/);
  await assertRefused(await cut('cut.avi', []), /got an AVI that breaks off/);

  const image = await sharp(patchFrame(64).data, { raw: { width: 512, height: 64, channels: 3 } })
    .jpeg()
    .toBuffer();
  await writeFile(file('cut.jpg'), image.subarray(0, image.length * 0.6));
  await assertRefused(file('cut.jpg'), /to be a whole image/, { probes: false });
});

test('no zero frames in silence: a header without pictures is an error', async () => {
  await writeFile(file('header.y4m'), 'YUV4MPEG2 W64 H48 F25:1 Ip A1:1 C420\n');
  await assertRefused(file('header.y4m'), /Expected .*header\.y4m to/);
  const path = await testClip(file('one.gif'), { seconds: 0.1 });
  const bytes = await readFile(path);
  const firstImage = bytes.indexOf(Buffer.from([0x21, 0xf9])); // graphic control extension
  await writeFile(file('header.gif'), Buffer.concat([bytes.subarray(0, firstImage), Buffer.from([0x3b])]));
  await assertRefused(file('header.gif'), /Expected .*header\.gif to/);
});

test('20000x20000 is refused before it is decoded', async () => {
  const huge = /to be at most 8192 on a side and 52 megapixels, got 20000x20000\. Scale it down first\./;
  await writeFile(file('huge.y4m'), 'YUV4MPEG2 W20000 H20000 F25:1 Ip A1:1 C420\nFRAME\n');
  await assertRefused(file('huge.y4m'), huge);
  const gif = await readFile(await testClip(file('huge.gif')));
  gif.writeUInt16LE(20000, 6);
  gif.writeUInt16LE(20000, 8);
  await writeFile(file('huge.gif'), gif);
  await assertRefused(file('huge.gif'), huge);
  const chunk = (type: string, data: Buffer) => {
    const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
    const ends = Buffer.alloc(8);
    ends.writeUInt32BE(data.length, 0);
    ends.writeUInt32BE(crc32(body), 4);
    return Buffer.concat([ends.subarray(0, 4), body, ends.subarray(4)]);
  };
  const header = Buffer.from([0, 0, 0x4e, 0x20, 0, 0, 0x4e, 0x20, 8, 2, 0, 0, 0]); // 20000 x 20000, 8-bit RGB
  const signature = Buffer.from('\x89PNG\r\n\x1a\n', 'latin1');
  const pixels = chunk('IDAT', deflateSync(Buffer.alloc(1000)));
  await writeFile(
    file('huge.png'),
    Buffer.concat([signature, chunk('IHDR', header), pixels, chunk('IEND', Buffer.alloc(0))]),
  );
  await assertRefused(file('huge.png'), huge);
});

test('a playlist, script or description that points elsewhere is refused, whatever it is called', async () => {
  const secret = await testClip(file('secret.mp4'));
  const pointers: Record<string, string> = {
    'list.m3u8': `#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n${secret}\n#EXT-X-ENDLIST\n`,
    'list.ffconcat': `ffconcat version 1.0\nfile secret.mp4\n`,
    'description.sdp':
      'v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n',
    'manifest.mpd': `<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period><AdaptationSet><Representation id="1"><BaseURL>${secret}</BaseURL></Representation></AdaptationSet></Period></MPD>`,
    'picture.svg': `<svg xmlns="http://www.w3.org/2000/svg" width="64" height="48"><image href="${secret}"/></svg>`,
  };
  for (const [name, content] of Object.entries(pointers)) {
    for (const disguise of [name, `${name}.mp4`, `${name}.png`]) {
      await writeFile(file(disguise), content);
      await assertRefused(file(disguise), /Expected .* to be a media file, got/);
    }
  }
});

/** A program that writes noise to the output named by its first argument and prints how that ended. */
const writeNoise = `
  import { createVideoWriter } from ${JSON.stringify(fileURLToPath(new URL('../../src/media/write-frames.js', import.meta.url)))};
  const size = { width: 256, height: 256 };
  try {
    const writer = await createVideoWriter(process.argv[1], { ...size, frameRate: 10 });
    for (let time = 0; time < 100; time++) {
      const data = new Uint8Array(256 * 256 * 3);
      for (let at = 0; at < data.length; at++) data[at] = (at * 2654435761 + time * 40503) >>> 13;
      await writer.write({ ...size, data });
    }
    console.log('finished', (await writer.finish()).sizeBytes);
  } catch (error) {
    console.log(error.name, error.message);
  }`;
const noRoom = /^OutputError Expected room on the disk for .*, got none left\. Free some space/;
const outputNames = ['out.mp4', 'out.gif', 'out_%d.png'];

async function runShell(script: string, ...options: string[]): Promise<string> {
  return (await promisify(execFile)('sh', ['-c', script, process.execPath, ...options])).stdout;
}

test('a file that may not grow is an error, and nothing is left', { skip: process.platform === 'win32' }, async () => {
  const room = file('limited');
  await mkdir(room);
  for (const name of outputNames) {
    const script = `trap '' XFSZ; ulimit -f 4; exec "$0" --input-type=module -e "$1" "$2"`;
    assert.match(await runShell(script, writeNoise, join(room, name)), noRoom);
    assert.deepEqual(await readdir(room), [], name);
  }
});

const canMount = await runShell('unshare -rm mount -t tmpfs none /mnt && echo yes').then(
  (answer) => answer === 'yes\n',
  () => false,
);

test('a full disk is an error, and nothing is left', { skip: !canMount && 'may not mount a small disk' }, async () => {
  const room = file('disk');
  await mkdir(room);
  for (const name of outputNames) {
    const inside = `mount -t tmpfs -o size=256k none "$1" && "$0" --input-type=module -e "$2" "$1/$3" && ls -A "$1"`;
    const printed = await runShell(`exec unshare -rm sh -c '${inside}' "$0" "$@"`, room, writeNoise, name);
    assert.match(printed, noRoom);
    assert.equal(printed.split('\n').length, 2, `left over: ${printed}`);
  }
});

test('no ffmpeg is left behind by any of these', { skip: process.platform !== 'linux' }, async () => {
  assert.deepEqual(await childProcesses(), []);
});
