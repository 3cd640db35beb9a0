import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { isControlled, openControls, parseControls } from '../../src/diffusion/control-clip.js';
import { InvalidOptionError, MediaError } from '../../src/errors.js';
import { findEdges } from '../../src/media/edges.js';
import type { Frame } from '../../src/media/frame.js';
import type { Manifest } from '../../src/networks/manifest.js';
import { drawFrame, encode, solidFrame, temporaryFolder } from '../media/make-media.js';

const lossless = (path: string, frames: readonly Frame[]) =>
  path.endsWith('.png')
    ? encode(frames, 8, path, '-frames:v', '1')
    : encode(frames, 8, path, '-c:v', 'ffv1', '-pix_fmt', 'bgr0');

/** What the parsing looks at of a manifest. */
const manifestWith = (kinds: readonly string[]) =>
  ({
    name: 'm',
    tasks: ['text', 'control'],
    graphs: { denoiser: {}, controlNets: kinds.map((kind) => ({ kind, path: '' })) },
  }) as unknown as Manifest;
const nets = manifestWith(['edges', 'depth']);

test('a control is a name and a clip, with a scale, and with a start and an end', () => {
  const whole = { scale: 1, start: 0, end: 1 };
  assert.deepEqual(parseControls(nets, undefined), []);
  assert.deepEqual(parseControls(nets, 'edges=a b.mp4'), [{ name: 'edges', path: 'a b.mp4', ...whole }]);
  assert.deepEqual(parseControls(nets, ['depth=C:\\d=1.mp4:.5', 'edges=x:1e-1:0.2:1']), [
    { name: 'depth', path: 'C:\\d=1.mp4', ...whole, scale: 0.5 },
    { name: 'edges', path: 'x', scale: 0.1, start: 0.2, end: 1 },
  ]);
  assert.deepEqual(parseControls(nets, 'depth=frames/:0:0:0.5'), [
    { name: 'depth', path: 'frames/', scale: 0, start: 0, end: 0.5 },
  ]);
  assert.equal(parseControls(nets, 'depth=2024:notes.mp4')[0]?.path, '2024:notes.mp4');
});

test('controls that make no sense are refused', () => {
  for (const [asked, message] of [
    ['pose=a.mp4', /control to be NAME=clip, .*NAME one of edges, depth, got "pose=a\.mp4"/],
    ['edges', /NAME one of edges, depth/],
    ['edges=', /NAME one of edges, depth/],
    ['edges=a.mp4:0.5:0.2', /NAME=clip:SCALE:START:END/],
    ['edges=a.mp4:1:0:1:1', /NAME=clip:SCALE:START:END/],
    ['edges=a.mp4:NaN', /scale of control edges to be from 0 to 10, got NaN/],
    ['edges=a.mp4:inf', /scale of control edges/],
    ['edges=a.mp4:1e9', /scale of control edges to be from 0 to 10, got 1000000000/],
    ['edges=a.mp4:-1', /scale of control edges to be from 0 to 10, got -1/],
    [
      'edges=a.mp4:1:0.6:0.5',
      /start and end of control edges to be from 0 to 1, the start before the end, got "0\.6 and 0\.5"/,
    ],
    ['edges=a.mp4:1:0.5:0.5', /start and end/],
    ['edges=a.mp4:1:-0.1:0.5', /start and end/],
    ['edges=a.mp4:1:0:1.1', /start and end/],
    ['edges=a.mp4:1:nan:1', /start and end/],
    [['edges=a.mp4', 'edges=b.mp4'], /controls to be given once each, got "edges twice"/],
  ] as const) {
    assert.throws(
      () => parseControls(nets, asked),
      (error) => {
        assert.ok(error instanceof InvalidOptionError, String(error));
        assert.match(error.message, message);
        return true;
      },
      String(asked),
    );
  }
});

test('a control counts at the steps that diffusers lets it count at', () => {
  const counts = (start: number, end: number, calls: number) =>
    Array.from({ length: calls }, (_, call) =>
      isControlled({ name: 'depth', path: '', scale: 1, start, end }, call, calls) ? 1 : 0,
    ).join('');
  // 1.0 - float(i / n < start or (i + 1) / n > end), worked out in Python.
  assert.equal(counts(0, 1, 4), '1111');
  assert.equal(counts(0, 0.5, 6), '111000');
  assert.equal(counts(0.25, 0.75, 4), '0110');
  assert.equal(counts(0.3, 0.9, 8), '00011110');
  assert.equal(counts(0.1, 0.7, 10), '0111111000');
  assert.equal(counts(0, 0.1, 5), '00000');
});

const size = { width: 16, height: 8 };
const grey = (level: number): Frame => solidFrame(16, 8, [level, level, level]);

async function open(path: string, more: object = {}, name = 'depth') {
  const control = { name, path, scale: 1, start: 0, end: 1 };
  const [clip] = await openControls([control], { ...size, frameRate: 8, ...more }, {});
  assert.ok(clip !== undefined);
  return clip;
}

const levels = (frames: readonly Frame[]) => frames.map(({ data }) => data[0]);

test('frames come in order, from a clip, a picture or a folder, and only what is asked for again is kept', async () => {
  const folder = await temporaryFolder();
  const shades = [0, 20, 40, 60, 80, 100];
  const video = join(folder, 'shades.mkv');
  await lossless(video, shades.map(grey));
  const pictures = join(folder, 'pictures');
  await mkdir(pictures);
  await writeFile(join(pictures, '.hidden'), 'not a picture');
  for (const [at, shade] of shades.entries()) await lossless(join(pictures, `${at + 8}.png`), [grey(shade)]);
  for (const path of [video, pictures]) {
    const clip = await open(path);
    assert.deepEqual(levels(await clip.take(-2, 2)), [0, 0, 0, 20]);
    assert.deepEqual(levels(await clip.take(1, 4)), [20, 40, 60]);
    assert.deepEqual(levels(await clip.take(4, 6)), [80, 100]);
    await assert.rejects(clip.take(5, 7), /frames of control .* to be as many as the clip has, got 6/);
    await clip.close();
    const later = await open(path, { startSeconds: 0.25, numFrames: 3 });
    assert.deepEqual(levels(await later.take(0, 3)), [40, 60, 80]);
    await later.close();
  }
  const still = await open(join(pictures, '9.png'), { numFrames: 1000 });
  assert.deepEqual(levels(await still.take(500, 503)), [20, 20, 20]);
  await still.close();
});

test('edges are found in the frames of that control alone', async () => {
  const path = join(await temporaryFolder(), 'square.png');
  const square = drawFrame(16, 8, (x, y) => (x > 4 && x < 12 && y > 2 && y < 6 ? [250, 250, 250] : [0, 0, 0]));
  await lossless(path, [square]);
  for (const [name, wanted] of [
    ['edges', findEdges(square)],
    ['depth', square],
  ] as const) {
    const clip = await open(path, {}, name);
    assert.deepEqual((await clip.take(0, 1))[0], wanted);
    await clip.close();
  }
});

test('a control clip that is none, or that is too short, is refused before anything is made', async () => {
  const folder = await temporaryFolder();
  const text = join(folder, 'text.mp4');
  await writeFile(text, 'no clip');
  const video = join(folder, 'short.mkv');
  await lossless(video, [grey(1), grey(2), grey(3)]);
  const empty = join(folder, 'empty');
  await mkdir(empty);
  const pictures = join(folder, 'few');
  await mkdir(pictures);
  await lossless(join(pictures, '1.png'), [grey(1)]);
  for (const [path, message] of [
    [join(folder, 'none.mp4'), /no such file/],
    [text, /text\.mp4/],
    [video, /frames of control .*short\.mkv to be at least 9, got "4 at most"\. Ask for fewer frames/],
    [empty, /to hold pictures, got an empty one/],
    [pictures, /frames of control .*few to be at least 9, got 1/],
  ] as const) {
    await assert.rejects(open(path, { numFrames: 9 }), (error) => {
      assert.ok(error instanceof MediaError, String(error));
      assert.match(error.message, message);
      return true;
    });
  }
});
