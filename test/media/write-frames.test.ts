import assert from 'node:assert/strict';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { InvalidOptionError, MediaError, OutputError } from '../../src/errors.js';
import { findFfmpeg } from '../../src/media/ffmpeg.js';
import { readMetadata, readSettings } from '../../src/media/metadata.js';
import { probe } from '../../src/media/probe.js';
import { createVideoWriter } from '../../src/media/write-frames.js';
import {
  describe,
  drawFrame,
  ffmpeg,
  patchError,
  patchFrame,
  psnr,
  readAll,
  readFirst,
  solidFrame,
  temporaryFolder,
  testClip,
  writeAll,
} from './make-media.js';

const folder = await temporaryFolder();
const file = (name: string) => join(folder, name);
const grey = [128, 128, 128] as const;
const tenFrames = Array.from({ length: 10 }, (_, time) => solidFrame(32, 16, [time * 20, 100, 200 - time * 20]));
/** Seconds of one stream, from the packets that it really holds. */
async function streamSeconds(path: string, stream: 'v:0' | 'a:0'): Promise<number> {
  const report = await ffmpeg('-i', path, '-map', `0:${stream}`, '-c', 'copy', '-f', 'null', '-');
  const [, hours, minutes, seconds] = /.*time=(\d+):(\d+):([\d.]+)/s.exec(report) ?? [];
  return Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds);
}

test('colours come back from MP4 and WebM, tagged as BT.709 in container and stream', async () => {
  const frames = Array.from({ length: 5 }, () => patchFrame(16));
  for (const [name, raw] of [
    ['colours.mp4', 'h264'],
    ['colours.webm', 'ivf'],
  ] as const) {
    await writeAll(file(name), frames);
    assert.match(await describe(file(name)), /yuv420p\(tv, bt709/, name);
    await ffmpeg('-i', file(name), '-c', 'copy', '-f', raw, file('stream'));
    assert.match(await describe(file('stream')), /yuv420p\(tv, bt709/, `the bare stream of ${name}`);
    for (const frame of await readAll(file(name))) {
      assert.ok(patchError(frame) <= 5, `${name}: off by ${patchError(frame)}`);
    }
  }
});

test('MP4 is H.264, keeps every frame at its rate, and can start playing before it is whole', async () => {
  const path = file('plain.mp4');
  const written = await writeAll(path, tenFrames, { frameRate: 12 });
  const bytes = await readFile(path);
  assert.deepEqual(written, { path, sizeBytes: bytes.length, numFrames: 10 });
  assert.ok(bytes.indexOf('moov') < bytes.indexOf('mdat'), 'index after data');
  const info = await probe(path);
  assert.deepEqual([info.codec, info.width, info.height, info.frameRate, info.hasAudio], ['h264', 32, 16, 12, false]);
  assert.equal((await readAll(path)).length, 10);
});

test('pictures survive writing and reading', async () => {
  const wave = (phase: number) => 128 + 100 * Math.sin(phase);
  const source = Array.from({ length: 10 }, (_, time) =>
    drawFrame(160, 96, (x, y) => [wave((x + time * 3) / 17), wave((y - time) / 23), wave((x + y + time * 5) / 31)]),
  );
  for (const [name, least] of [
    ['round.mp4', 43],
    ['round.webm', 40],
    ['round.gif', 26],
  ] as const) {
    await writeAll(file(name), source);
    const back = await readAll(file(name));
    assert.equal(back.length, source.length, name);
    const quality = source.map((frame, time) => psnr(frame, back[time] ?? frame));
    assert.ok(Math.min(...quality) >= least, `${name}: ${Math.min(...quality).toFixed(1)} dB`);
  }
});

test('odd sizes: refused for MP4, kept by the others', async () => {
  const frames = [drawFrame(33, 21, (x, y) => [x * 7, y * 12, 90])];
  await assert.rejects(
    writeAll(file('odd.mp4'), frames),
    /Expected width and height to be even for \.mp4, got "33x21"/,
  );
  for (const name of ['odd.webm', 'odd.gif', 'odd.png']) {
    await writeAll(file(name), frames);
    const { width, height } = await readFirst(file(name));
    assert.deepEqual([width, height], [33, 21], name);
  }
});

test('images and sequences hold the frames exactly', async () => {
  for (const [name, names] of [
    ['one.png', ['one.png']],
    ['one.webp', ['one.webp']],
    ['sequence/', ['sequence/frame_0001.png', 'sequence/frame_0002.png', 'sequence/frame_0003.png']],
    ['numbered_%03d.png', ['numbered_001.png', 'numbered_002.png', 'numbered_003.png']],
  ] as const) {
    const frames = tenFrames.slice(0, names.length);
    const written = await writeAll(file(name), frames);
    assert.equal(written.numFrames, frames.length);
    let sizeBytes = 0;
    for (const [index, each] of names.entries()) {
      sizeBytes += (await readFile(file(each))).length;
      assert.deepEqual(await readFirst(file(each)), frames[index]);
    }
    assert.equal(written.sizeBytes, sizeBytes);
  }
  await writeAll(file('one.jpg'), [patchFrame(16)]);
  assert.ok(patchError(await readFirst(file('one.jpg'))) <= 4);
  await assert.rejects(
    writeAll(file('two.png'), tenFrames),
    /Expected number of frames to be 1 for two\.png, got "more"/,
  );
  await assert.rejects(writeAll(file('sequence/'), tenFrames), /Expected folder .* to be new or empty, got 3 entries/);
});

test('sound is kept: longer is cut, shorter or none is fine, and it starts where asked', async () => {
  const frames = Array.from({ length: 20 }, () => solidFrame(32, 16, grey)); // 2 s
  const long = await testClip(file('long.mp4'), { seconds: 1, audioSeconds: 5, options: ['-c:a', 'aac'] });
  const short = await testClip(file('short.mp4'), { seconds: 2, audioSeconds: 0.5, options: ['-c:a', 'aac'] });
  const silent = await testClip(file('silent.mp4'));
  const flac = await testClip(file('flac.mkv'), { audioSeconds: 1, options: ['-c:a', 'flac'] });

  const cases = [
    { from: long, to: 'cut.mp4', codec: 'aac', seconds: 2 },
    { from: short, to: 'early.mp4', codec: 'aac', seconds: 0.5 },
    { from: flac, to: 'encoded.mp4', codec: 'aac', seconds: 2 }, // padded
    { from: long, to: 'cut.webm', codec: 'opus', seconds: 2 },
  ];
  for (const { from, to, codec, seconds } of cases) {
    await writeAll(file(to), frames, { audioFrom: from });
    const info = await probe(file(to));
    assert.equal(info.audioCodec, codec, to);
    const audio = await streamSeconds(file(to), 'a:0');
    assert.ok(Math.abs(audio - seconds) < 0.15, `${to}: ${audio} s of sound`);
    assert.equal((await readAll(file(to))).length, 20, to);
  }
  await writeAll(file('quiet.mp4'), frames, { audioFrom: silent });
  assert.equal((await probe(file('quiet.mp4'))).hasAudio, false);
  await writeAll(file('quiet.gif'), frames, { audioFrom: long });
  await writeAll(file('late.mp4'), frames, { audioFrom: long, audioStartSeconds: 4 });
  const late = await streamSeconds(file('late.mp4'), 'a:0');
  assert.ok(Math.abs(late - 1) < 0.15, `${late} s of sound after 4 of 5 s`);
  await assert.rejects(writeAll(file('x.mp4'), frames, { audioFrom: file('nowhere.mp4') }), MediaError);
});

test('copied sound is bit for bit that of the source', async () => {
  const source = await testClip(file('tone.mp4'), { seconds: 2, audioSeconds: 2, options: ['-c:a', 'aac'] });
  const frames = Array.from({ length: 20 }, () => solidFrame(32, 16, grey));
  await writeAll(file('tone-kept.mp4'), frames, { audioFrom: source });
  const packets = async (path: string) => {
    await ffmpeg('-i', path, '-map', '0:a:0', '-c', 'copy', '-t', '1.8', '-f', 'adts', file('packets'));
    return readFile(file('packets'));
  };
  assert.deepEqual(await packets(file('tone-kept.mp4')), await packets(source));
});

test('settings come back unchanged from every format that has room for them', async () => {
  const settings = {
    prompt: 'a "fox"; é 日本 🦊 = 1\\2 #3\nsecond line\r\n\ttab <b>&amp;</b>',
    seed: 7,
    nested: { list: [1, 2.5, null], long: 'x'.repeat(3000) },
  };
  const metadata = { title: 'A fox; = #1\n\\second', comment: JSON.stringify(settings) };
  const source = await testClip(file('with-sound.mp4'), {
    audioSeconds: 1,
    options: ['-metadata', 'comment=of the source'],
  });
  for (const name of ['meta.mp4', 'meta.webm', 'meta.png', 'meta.jpg', 'meta.webp', 'meta_%d.png']) {
    await writeAll(file(name), tenFrames.slice(0, 1), { metadata });
    const path = file(name.replace('%d', '1'));
    assert.deepEqual(await readSettings(path), settings, name);
    assert.equal((await readMetadata(path)).get('title'), metadata.title, name);
  }
  // Longer than one argument of a program may be.
  const long = { title: '', comment: JSON.stringify({ text: 'é=;日'.repeat(40_000) }) };
  // The ffmpeg of 2018, of which the warning is, can't take them.
  const streams = (await findFfmpeg()).warning === undefined ? ['long.mp4', 'long.webm', 'long-sound.mp4'] : [];
  for (const name of ['long.png', ...streams]) {
    const audioFrom = name.includes('sound') ? source : undefined;
    await writeAll(file(name), tenFrames.slice(0, 1), { metadata: long, audioFrom });
    assert.ok((await readMetadata(file(name))).get('comment') === long.comment, name);
  }
  await writeAll(file('meta-sound.mp4'), tenFrames, { metadata, audioFrom: source });
  assert.deepEqual(await readSettings(file('meta-sound.mp4')), settings);
  await assert.rejects(readSettings(source), /Expected .* to carry the settings of a reelspace run, got none/);
  await assert.rejects(readSettings(await testClip(file('no-comment.mkv'))), MediaError);
});

test('what was there is replaced only by a whole file, and nothing else is left', async () => {
  const room = file('room');
  await mkdir(room);
  const path = join(room, 'out.mp4');
  await writeFile(path, 'precious');
  const writer = await createVideoWriter(path, { width: 32, height: 16, frameRate: 10 });
  for (const frame of tenFrames) await writer.write(frame);
  assert.equal(await readFile(path, 'utf8'), 'precious');
  await writer.abort();
  await writer.abort();
  assert.deepEqual(await readdir(room), ['out.mp4']);
  assert.equal(await readFile(path, 'utf8'), 'precious');
  await assert.rejects(writer.write(solidFrame(32, 16, grey)), /Expected writer to be open, got "aborted"/);

  await writeAll(path, tenFrames);
  assert.deepEqual(await readdir(room), ['out.mp4']);
  assert.equal((await readAll(path)).length, 10);

  // A clip may be its own source.
  await writeAll(path, tenFrames.slice(0, 3), { audioFrom: path });
  assert.equal((await readAll(path)).length, 3);
});

test('a picture has room for one frame, and a numbered name for none beside those that are there', async () => {
  const room = file('numbered');
  await mkdir(room);
  const size = { width: 32, height: 16, frameRate: 10 };
  await assert.rejects(
    createVideoWriter(join(room, 'a.png'), { ...size, numFrames: 2 }),
    /Expected number of frames to be 1 for a\.png, got 2\. Name a video/,
  );
  await assert.rejects(createVideoWriter(join(room, `${'n'.repeat(252)}.png`), size), /at most 255 bytes, got n+\.png/);
  const long = join(room, `${'n'.repeat(251)}.png`);
  await writeAll(long, tenFrames.slice(0, 1));
  await rm(long);
  const twice = join(room, '%d_%d.png');
  await writeAll(twice, tenFrames.slice(0, 1));
  await assert.rejects(createVideoWriter(twice, size), /to be a name that no file has/);
  await rm(join(room, '1_%d.png'));
  const path = join(room, 'a_%02d.png');
  for (const name of ['b_1.png', 'a_x.png', 'a_1.jpg']) await writeFile(join(room, name), 'of another');
  await writeAll(path, tenFrames.slice(0, 2));
  const names = ['a_01.png', 'a_02.png', 'a_1.jpg', 'a_x.png', 'b_1.png'];
  assert.deepEqual((await readdir(room)).sort(), names);
  await assert.rejects(
    createVideoWriter(path, size),
    /to be a name that no file has, got 2 that have it\. Remove them/,
  );
  assert.deepEqual((await readdir(room)).sort(), names);
});

test('a wrong frame, a wrong name or a wrong place is an error, and leaves nothing', async () => {
  const room = file('strict');
  await mkdir(room);
  const at = (name: string) => join(room, name);
  const size = { width: 32, height: 16, frameRate: 10 };
  for (const name of ['wrong.mp4', 'wrong/', 'wrong.png']) {
    const writer = await createVideoWriter(at(name), size);
    await assert.rejects(writer.write(solidFrame(16, 32, grey)), /Expected frame size to be 32x16, got "16x32"/);
    await assert.rejects(writer.write({ width: 32, height: 16, data: new Uint8Array(7) }), /Expected frame data/);
    await assert.rejects(writer.finish(), /Expected number of frames to be at least 1, got 0/);
  }
  const refused = [
    ['clip.mov', {}, InvalidOptionError, /ends in \.mp4, \.webm, \.gif, \.png, \.jpg, \.jpeg, \.webp, or a folder/],
    ['clip', {}, InvalidOptionError, /Expected output name/],
    ['nowhere/clip.mp4', {}, OutputError, /Expected the folder of .* to exist/],
    ['clip.mp4', { frameRate: -1 }, InvalidOptionError, /Expected frameRate/],
    ['clip.mp4', { width: 0 }, InvalidOptionError, /Expected width/],
    ['clip.mp4', { crf: Number.NaN }, InvalidOptionError, /Expected crf/],
    ['clip.mp4', { audioStartSeconds: -1 }, InvalidOptionError, /Expected audioStartSeconds/],
    [
      'clip.mp4',
      { metadata: { artist: 'x' } as object },
      InvalidOptionError,
      /Expected metadata key to be title or comment/,
    ],
  ] as const;
  for (const [name, options, kind, message] of refused) {
    await assert.rejects(createVideoWriter(at(name), { ...size, ...options }), (error) => {
      assert.ok(error instanceof kind, `${name}: ${error}`);
      assert.match(error.message, message);
      return true;
    });
  }
  await mkdir(at('folder.mp4'));
  await assert.rejects(createVideoWriter(at('folder.mp4'), size), OutputError);
  assert.deepEqual(await readdir(room), ['folder.mp4']);
});
