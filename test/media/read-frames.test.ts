import assert from 'node:assert/strict';
import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import sharp from 'sharp';
import { InvalidOptionError } from '../../src/errors.js';
import { planFit } from '../../src/media/fit.js';
import { probe } from '../../src/media/probe.js';
import { readFrames } from '../../src/media/read-frames.js';
import { fitFrame } from '../../src/media/resize.js';
import {
  colorAt,
  drawFrame,
  encode,
  ffmpeg,
  patchColors,
  patchError,
  patchFrame,
  psnr,
  type Rgb,
  readAll,
  readFirst,
  setRotation,
  solidFrame,
  temporaryFolder,
  testClip,
  writeAll,
} from './make-media.js';

const folder = await temporaryFolder();
const file = (name: string) => join(folder, name);
const lossless = ['-c:v', 'ffv1'];
/** Frames that are told apart by their grey. */
const steps = (count: number) =>
  Array.from({ length: count }, (_, time) => solidFrame(32, 16, [time * 10, time * 10, time * 10]));
const greys = async (path: string, options = {}) =>
  (await readAll(path, options)).map((frame) => Math.round(colorAt(frame, 16, 8)[0] / 10));
/** The quarters of a picture, clockwise from the top left. */
const quarters = (width: number, height: number) =>
  drawFrame(width, height, (x, y) => (y < height / 2 ? (x < width / 2 ? red : green) : x < width / 2 ? white : blue));
const red: Rgb = [255, 0, 0];
const green: Rgb = [0, 255, 0];
const blue: Rgb = [0, 0, 255];
const white: Rgb = [255, 255, 255];

function assertColor(seen: Rgb, color: Rgb, tolerance: number): void {
  const off = Math.max(...color.map((level, channel) => Math.abs(level - (seen[channel] ?? 0))));
  assert.ok(off <= tolerance, `expected about ${color}, got ${seen}`);
}

test('every frame of a clip arrives, in order and exact from a lossless file', async () => {
  const frames = Array.from({ length: 7 }, (_, time) =>
    drawFrame(33, 21, (x, y) => [x * 7 + time, y * 9, x * y + time]),
  );
  const path = await encode(frames, 5, file('exact.mkv'), '-c:v', 'ffv1', '-pix_fmt', 'bgr0');
  assert.deepEqual(await readAll(path), frames);
  const info = await probe(path);
  assert.deepEqual([info.width, info.height, info.frameRate, info.hasAudio, info.isStill], [33, 21, 5, false, false]);
  assert.deepEqual([info.codec, info.hasAlpha, info.rotation], ['ffv1', false, 0]);
});

test('frames are owned by the receiver', async () => {
  const path = await encode(steps(4), 5, file('owned.mkv'), ...lossless);
  const frames = await readAll(path);
  assert.equal(new Set(frames.map((frame) => frame.data.buffer)).size, 4);
  for (const frame of frames) assert.equal(frame.data.byteLength, frame.data.buffer.byteLength);
});

test('a variable frame rate becomes even: each output time shows what the file shows then', async () => {
  // Frames 0 to 4 a tenth of a second apart, 5 to 7 half a second apart.
  const timing = "setpts='round(if(lt(N,5),N/10,0.5+(N-5)/2)/TB)'";
  const path = await encode(steps(8), 10, file('vfr.mkv'), '-vf', timing, ...lossless);
  assert.deepEqual(
    (await greys(path, { frameRate: 10 })).slice(0, 16),
    [0, 1, 2, 3, 4, 5, 5, 5, 5, 5, 6, 6, 6, 6, 6, 7],
  );
  assert.deepEqual((await greys(path, { frameRate: 2 })).slice(0, 3), [0, 5, 6]);
});

test('a rate that varies has a peak, one that is even, of fields or of a clock has none', async () => {
  const slower = ['-vf', "select='if(lt(t,1),1,not(mod(n,5)))'", '-vsync', 'vfr'];
  const varying = await probe(await testClip(file('varying.mp4'), { rate: 15, seconds: 6, options: slower }));
  assert.equal(varying.peakFrameRate, 15);
  assert.ok(varying.frameRate < 7, String(varying.frameRate));
  const fields = ['-vf', 'interlace', '-flags', '+ilme+ildct', '-c:v', 'libx264'];
  for (const [name, options] of [
    ['even.mp4', []],
    ['fields.mp4', fields],
    ['clock.gif', slower],
  ] as const) {
    const { peakFrameRate } = await probe(await testClip(file(name), { rate: 50, options: [...options] }));
    assert.equal(peakFrameRate, undefined, name);
  }
});

test('frame rate, start and count are as asked', async () => {
  const path = await encode(steps(20), 10, file('timing.mkv'), ...lossless);
  assert.deepEqual(await greys(path, { frameRate: 5 }), [0, 2, 4, 6, 8, 10, 12, 14, 16, 18]);
  assert.deepEqual(await greys(path, { startSeconds: 0.5, maxFrames: 3 }), [5, 6, 7]);
  assert.deepEqual(await greys(path, { frameRate: 20, maxFrames: 4 }), [0, 0, 1, 1]);
  const halfSpeed = await greys(path, { frameRate: 5, startSeconds: 1 });
  assert.deepEqual(halfSpeed, [10, 12, 14, 16, 18]);
  await assert.rejects(
    readAll(path, { startSeconds: 60 }),
    /Expected startSeconds to be before the end of .*, got 60\./,
  );
});

test('a clip shorter than one output frame yields one', async () => {
  const path = await encode(steps(2), 10, file('short.mkv'), ...lossless);
  assert.deepEqual(await greys(path, { frameRate: 1 }), [0]);
});

test('rates of broadcast video are exact', async () => {
  const path = await testClip(file('ntsc.mp4'), { rate: 30000 / 1001, seconds: 1 });
  assert.equal((await probe(path)).frameRate, 30000 / 1001);
  assert.equal((await readAll(path)).length, 30);
});

test('a title that looks like a description is none', async () => {
  const title = 'x\u2028Duration: 00:00:00.00\u2028displaymatrix: rotation of -90.00 degrees\nDuration: 00:00:00.00';
  const path = await testClip(file('spoof.mkv'), { options: ['-metadata', `title=${title}`] });
  const plain = await testClip(file('plain.mkv'));
  assert.deepEqual(await probe(path), await probe(plain));
  const keys = [
    'Duration: 00:00:09.00, x',
    'Stream #0:0: Video: h264, yuv420p, 32x32, 7 fps, x',
    'displaymatrix: rotation of 90.00 degrees',
  ];
  const tagged = await testClip(file('tagged.mp4'), {
    options: ['-movflags', 'use_metadata_tags', ...keys.flatMap((key) => ['-metadata', `${key}=1`])],
  });
  assert.deepEqual(await probe(tagged), await probe(await testClip(file('plain.mp4'))));
  // Of a stream, and so behind the duration.
  const ofStream = await testClip(file('stream.nut'), {
    options: ['-metadata:s:v:0', 'Stream #0:1: Audio: aac, x=1'],
  });
  assert.equal((await probe(ofStream)).hasAudio, false);
  assert.equal((await readAll(path)).length, (await readAll(plain)).length);
});

for (const [degrees, corner] of [
  [90, 1],
  [180, 2],
  [270, 3],
] as const) {
  test(`rotation metadata of ${degrees} degrees is applied`, async () => {
    const path = await encode([quarters(64, 32)], 5, file(`rotated-${degrees}.mp4`), '-c:v', 'libx264', '-crf', '1');
    await setRotation(path, degrees);
    const { width, height, codedWidth, codedHeight, rotation } = await probe(path);
    const size = degrees === 180 ? [64, 32] : [32, 64];
    assert.deepEqual([width, height, codedWidth, codedHeight, rotation], [...size, 64, 32, degrees]);
    const frame = await readFirst(path);
    const corners = [
      colorAt(frame, 4, 4),
      colorAt(frame, frame.width - 4, 4),
      colorAt(frame, frame.width - 4, frame.height - 4),
      colorAt(frame, 4, frame.height - 4),
    ];
    // The top left corner moves clockwise, one corner for each quarter turn.
    assertColor(corners[corner] ?? white, red, 12);
    assertColor(corners[(corner + 1) % 4] ?? white, green, 12);
  });
}

test('anamorphic pixels are made square', async () => {
  const path = await encode([quarters(48, 36)], 5, file('anamorphic.mkv'), '-vf', 'setsar=4/3', ...lossless);
  const { width, height, codedWidth } = await probe(path);
  assert.deepEqual([width, height, codedWidth], [64, 36, 48]);
  const frame = await readFirst(path);
  assert.deepEqual([frame.width, frame.height], [64, 36]);
  assertColor(colorAt(frame, 28, 4), red, 4);
  assertColor(colorAt(frame, 36, 4), green, 4);
});

test('sizes: one side keeps the proportions, cover crops, contain adds black bars, fill stretches', async () => {
  const path = await encode([quarters(64, 32)], 5, file('sizes.mkv'), '-c:v', 'ffv1', '-pix_fmt', 'bgr0');
  const half = await readFirst(path, { width: 32 });
  assert.deepEqual([half.width, half.height], [32, 16]);
  const cover = await readFirst(path, { width: 17, height: 17 });
  assert.deepEqual([cover.width, cover.height], [17, 17]);
  assertColor(colorAt(cover, 0, 0), red, 2);
  const contain = await readFirst(path, { width: 32, height: 32, fit: 'contain' });
  assertColor(colorAt(contain, 8, 2), [0, 0, 0], 0);
  assertColor(colorAt(contain, 4, 10), red, 2);
  const fill = await readFirst(path, { width: 16, height: 64, fit: 'fill' });
  assertColor(colorAt(fill, 2, 60), white, 2);
});

test('transparency is shown over white, without the colour hidden under it', async () => {
  const { data } = drawFrame(32, 16, (x) => (x < 16 ? [0, 0, 0] : red));
  const rgba = Buffer.alloc(32 * 16 * 4);
  for (let pixel = 0; pixel < 32 * 16; pixel++) {
    rgba.set(data.subarray(pixel * 3, pixel * 3 + 3), pixel * 4);
    rgba[pixel * 4 + 3] = pixel % 32 < 16 ? 0 : 255;
  }
  const png = file('alpha.png');
  await sharp(rgba, { raw: { width: 32, height: 16, channels: 4 } })
    .png()
    .toFile(png);
  const movie = file('alpha.mov');
  const webm = file('alpha.webm');
  await ffmpeg('-i', png, '-c:v', 'qtrle', '-pix_fmt', 'argb', movie);
  await ffmpeg('-i', png, '-c:v', 'libvpx-vp9', '-pix_fmt', 'yuva420p', '-crf', '4', '-b:v', '0', webm);
  for (const path of [png, movie, webm]) {
    assert.equal((await probe(path)).hasAlpha, true, path);
    const frame = await readFirst(path);
    assertColor(colorAt(frame, 4, 8), white, 3);
    assertColor(colorAt(frame, 28, 8), red, 6);
    const small = await readFirst(path, { width: 8 });
    assertColor(colorAt(small, 1, 2), white, 12);
  }
});

test('colours survive BT.601, BT.709, full range, 10 bits and untagged files', async () => {
  const frame = patchFrame(16);
  const exact = ['-c:v', 'libx264', '-crf', '0', '-pix_fmt', 'yuv444p'];
  const convert = (matrix: string, range: string) =>
    `scale=out_color_matrix=${matrix}:out_range=${range}:flags=accurate_rnd`;
  const tags = (matrix: string, range: string) => ['-colorspace', matrix, '-color_range', range];
  const files = {
    'tagged BT.709': ['-vf', convert('bt709', 'tv'), ...exact, ...tags('bt709', 'tv')],
    'tagged BT.601': ['-vf', convert('bt601', 'tv'), ...exact, ...tags('smpte170m', 'tv')],
    'tagged full range': ['-vf', convert('bt709', 'pc'), ...exact, ...tags('bt709', 'pc')],
    'untagged small, so BT.601': ['-vf', convert('bt601', 'tv'), ...exact],
    '10 bits': ['-vf', `${convert('bt709', 'tv')},format=yuv444p10le`, '-c:v', 'ffv1', ...tags('bt709', 'tv')],
  };
  for (const [name, options] of Object.entries(files)) {
    const path = await encode([frame], 5, file(`${name}.mkv`), ...options);
    const error = patchError(await readFirst(path));
    assert.ok(error <= 3, `${name}: off by ${error}`);
  }
  const large = await encode(
    [frame],
    5,
    file('large.mkv'),
    '-vf',
    `scale=1280:160:flags=neighbor,${convert('bt709', 'tv')}`,
    ...exact,
  );
  const error = patchError(await readFirst(large));
  assert.ok(error <= 3, `untagged large, so BT.709: off by ${error}`);
});

test('resizing video averages instead of skipping, close to sharp', async () => {
  const path = await encode(
    [drawFrame(96, 96, (x, y) => [128 + 100 * Math.sin(x / 5), 128 + 100 * Math.cos(y / 7), (x * 5 + y * 3) % 200])],
    5,
    file('resize.mkv'),
    '-c:v',
    'ffv1',
    '-pix_fmt',
    'bgr0',
  );
  const own = await readFirst(path, { width: 40, height: 40 });
  const reference = await fitFrame(await readFirst(path), planFit({ width: 96, height: 96 }, 40, 40, 'cover'));
  assert.ok(psnr(own, reference) > 40, `${psnr(own, reference)} dB`);
  const checks = await encode(
    [drawFrame(64, 64, (x, y) => ((x + y) % 2 ? white : [0, 0, 0]))],
    5,
    file('checks.mkv'),
    '-c:v',
    'ffv1',
    '-pix_fmt',
    'bgr0',
  );
  assertColor(colorAt(await readFirst(checks, { width: 16 }), 8, 8), [128, 128, 128], 3);
});

test('still images: PNG, JPEG, WebP, TIFF, AVIF, grey, 16-bit, and turned by EXIF', async () => {
  const { data, width, height } = patchFrame(16);
  const image = () => sharp(data, { raw: { width, height, channels: 3 } });
  await image().png().toFile(file('still.png'));
  await image().jpeg({ quality: 100, chromaSubsampling: '4:4:4' }).toFile(file('still.jpg'));
  await image().webp({ lossless: true }).toFile(file('still.webp'));
  await image().tiff().toFile(file('still.tiff'));
  await image().avif({ lossless: true }).toFile(file('still.avif'));
  await image().toColourspace('rgb16').png().toFile(file('deep.png'));
  for (const name of ['still.png', 'still.jpg', 'still.webp', 'still.tiff', 'still.avif', 'deep.png']) {
    const info = await probe(file(name));
    assert.deepEqual([info.width, info.height, info.isStill, info.durationSeconds], [width, height, true, 0], name);
    const frames = await readAll(file(name), { frameRate: 24 });
    assert.equal(frames.length, 1);
    const [frame = solidFrame(width, height, white)] = frames;
    assert.ok(patchError(frame) <= 3, `${name}: off by ${patchError(frame)}`);
  }

  await sharp(Buffer.from([0, 80, 160, 240]), { raw: { width: 4, height: 1, channels: 1 } })
    .png()
    .toFile(file('grey.png'));
  const grey = await readFirst(file('grey.png'));
  assert.deepEqual(Array.from(grey.data), [0, 0, 0, 80, 80, 80, 160, 160, 160, 240, 240, 240]);

  const turned = quarters(32, 16);
  await sharp(turned.data, { raw: { width: 32, height: 16, channels: 3 } })
    .withMetadata({ orientation: 6 }) // turn 90 degrees clockwise for display
    .png()
    .toFile(file('turned.png'));
  const info = await probe(file('turned.png'));
  assert.deepEqual([info.width, info.height, info.codedWidth, info.codedHeight, info.rotation], [16, 32, 32, 16, 90]);
  const upright = await readFirst(file('turned.png'));
  assertColor(colorAt(upright, 14, 2), red, 0);
  assertColor(colorAt(upright, 14, 30), green, 0);
});

test('BMP goes through ffmpeg and is still a still image', async () => {
  const path = await encode([patchFrame(8)], 5, file('still.bmp'), '-c:v', 'bmp', '-f', 'image2');
  assert.equal((await probe(path)).isStill, true);
  assert.equal(patchError((await readAll(path))[0] ?? patchFrame(8)), 0);
});

test('GIF and animated WebP keep their timing', async () => {
  const gif = file('steps.gif');
  await writeAll(gif, steps(8), { frameRate: 5 });
  assert.deepEqual(await greys(gif, { frameRate: 5 }), [0, 1, 2, 3, 4, 5, 6, 7]);

  const webp = file('steps.webp');
  const pages = steps(4).map(({ data }) => ({ raw: { width: 32, height: 16, channels: 3 as const }, data }));
  const sheet = Buffer.concat(pages.map((page) => page.data));
  await sharp(sheet, { raw: { width: 32, height: 64, channels: 3, pageHeight: 16 } })
    .webp({ lossless: true, delay: [100, 100, 300, 100] })
    .toFile(webp);
  const info = await probe(webp);
  assert.deepEqual([info.width, info.height, info.isStill], [32, 16, false]);
  assert.ok(Math.abs((info.durationSeconds ?? 0) - 0.6) < 1e-9);
  assert.deepEqual(await greys(webp, { frameRate: 10 }), [0, 1, 2, 2, 2, 3]);
  assert.deepEqual(await greys(webp, { frameRate: 10, startSeconds: 0.2, maxFrames: 2 }), [2, 2]);
  await assert.rejects(readAll(webp, { startSeconds: 9 }), InvalidOptionError);
});

test('the kind of a file is told from its bytes, not its name', async () => {
  await sharp(patchFrame(8).data, { raw: { width: 8 * patchColors.length, height: 8, channels: 3 } })
    .png()
    .toFile(file('image.png'));
  await rename(file('image.png'), file('image.mp4'));
  assert.equal((await probe(file('image.mp4'))).codec, 'png');
  const clip = await encode(steps(3), 5, file('clip.mkv'), ...lossless);
  await rename(clip, file('clip.jpg'));
  assert.equal((await readAll(file('clip.jpg'))).length, 3);
});

test('names that mean something to ffmpeg are only names', async () => {
  const clip = await encode(steps(2), 5, file('plain.mkv'), ...lossless);
  const before = process.cwd();
  process.chdir(folder); // relative names are the dangerous ones
  try {
    for (const name of ['-i.mkv', 'a:b.mkv', 'http:x.mkv', '100%03d.mkv', "quote'd [1],;.mkv", 'é 日本.mkv']) {
      await rename(clip, name);
      assert.equal((await readAll(name)).length, 2, name);
      await rename(name, clip);
    }
    for (const name of ['-y.mp4', 'http:x.mp4', "100% 'd [1],;.mp4"]) {
      await writeAll(name, steps(3), { frameRate: 5, audioFrom: clip });
      assert.equal((await readAll(file(name))).length, 3, name);
    }
  } finally {
    process.chdir(before);
  }
  const image = await sharp(patchFrame(8).data, { raw: { width: 64, height: 8, channels: 3 } })
    .png()
    .toBuffer();
  await writeFile(file('still[page=1].png'), image);
  assert.equal((await readFirst(file('still[page=1].png'))).width, 64);
});

test('bad options are refused with the rule that they break', async () => {
  const clip = file('plain.mkv');
  const bad = [
    [{ width: 0 }, /Expected width to be a whole number of at least 1, got 0/],
    [{ height: 1.5 }, /Expected height/],
    [{ width: Number.NaN }, /Expected width/],
    [
      { width: 20000, height: 20000 },
      /Expected frame size to be at most 8192 on a side and 52 megapixels, got "20000x20000"/,
    ],
    [{ frameRate: 0 }, /Expected frameRate/],
    [{ frameRate: Number.POSITIVE_INFINITY }, /Expected frameRate/],
    [{ startSeconds: -1 }, /Expected startSeconds/],
    [{ maxFrames: 0 }, /Expected maxFrames/],
  ] as const;
  for (const [options, message] of bad) {
    await assert.rejects(readFrames(clip, options).next(), (error) => {
      assert.ok(error instanceof InvalidOptionError);
      assert.match(error.message, message);
      return true;
    });
  }
});
