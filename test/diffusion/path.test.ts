import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { keyframeTime, pathLatents, pathPlaces, pathPrompts } from '../../src/diffusion/path.js';
import type { PromptEmbeds } from '../../src/networks/model.js';
import { axis, createTensor, slice } from '../../src/tensor/tensor.js';

/** Latents [1, 2, frames, 1, 1] on the unit circle; frame k at `start + k * step` radians. */
function onCircle(frames: number, start: number, step: number) {
  const data = new Float32Array(2 * frames);
  for (let frame = 0; frame < frames; frame++) {
    data[frame] = Math.cos(start + frame * step);
    data[frames + frame] = Math.sin(start + frame * step);
  }
  return createTensor([1, 2, frames, 1, 1], data);
}

function embedsOf(values: number[], mask: number[]): PromptEmbeds {
  return {
    embeds: createTensor([1, values.length, 1], Float32Array.from(values)),
    mask: createTensor([1, mask.length], Float32Array.from(mask)),
    truncated: [],
  };
}

describe('pathPlaces', () => {
  it('visits every keyframe, evenly or slowly at the ends of each segment', () => {
    assert.deepEqual(pathPlaces(5, 3, 'linear'), [0, 0.5, 1, 1.5, 2]);
    assert.deepEqual(pathPlaces(5, 2, 'smooth'), [0, 0.15625, 0.5, 0.84375, 1]);
    assert.deepEqual(pathPlaces(1, 2, 'linear'), [0]);
  });
});

describe('pathLatents', () => {
  it('goes along the arc between still keyframes', () => {
    const { latents: path } = pathLatents(
      [onCircle(5, 0, 0), onCircle(5, Math.PI / 2, 0)],
      pathPlaces(5, 2, 'linear'),
      0,
    );
    for (let frame = 0; frame < 5; frame++) {
      const [x = 0, y = 0] = slice(path, axis.time, frame, frame + 1).data;
      assert.ok(Math.abs(Math.atan2(y, x) - (frame * Math.PI) / 8) < 1e-6);
      assert.ok(Math.abs(Math.hypot(x, y) - 1) < 1e-6);
    }
  });

  it('plays the first clip from its start and the last one to its end', () => {
    const first = onCircle(4, 0, 0.1);
    const last = onCircle(3, 1, 0.1);
    const { latents: path } = pathLatents([first, last], pathPlaces(6, 2, 'linear'), 0);
    assert.deepEqual(slice(path, axis.time, 0, 1), slice(first, axis.time, 0, 1));
    assert.deepEqual(slice(path, axis.time, 5, 6), slice(last, axis.time, 2, 3));
  });

  it('holds a clip’s second latent frame, not its first, where the clip has not begun yet', () => {
    const last = onCircle(2, 1, 0.1);
    const { latents: path } = pathLatents([onCircle(1, 0, 0), last], [0, 1, 1, 1, 1, 1], 0);
    assert.deepEqual(slice(path, axis.time, 1, 2), slice(last, axis.time, 1, 2));
  });

  it('meets a keyframe in the middle exactly', () => {
    const middle = onCircle(1, 2, 0);
    const { latents: path } = pathLatents(
      [onCircle(1, 0, 0), middle, onCircle(1, 1, 0)],
      pathPlaces(7, 3, 'smooth'),
      0,
    );
    assert.deepEqual(slice(path, axis.time, keyframeTime(1, 3, 7), keyframeTime(1, 3, 7) + 1), middle);
  });
});

describe('a path that spreads', () => {
  // One row of three positions, which differ by 0, 2 and 1.
  const [from, to] = [createTensor([1, 1, 1, 1, 3]), createTensor([1, 1, 1, 1, 3], Float32Array.of(0, 2, 1))];

  it('changes where most differs first, and comes to each keyframe whole', () => {
    const { latents, between } = pathLatents([from, to], [0, 0.5, 1], 0.8);
    assert.deepEqual(slice(latents, axis.time, 0, 1), from);
    assert.deepEqual(slice(latents, axis.time, 2, 3), to);
    const [nothing, middle, last] = slice(latents, axis.time, 1, 2).data;
    assert.equal(nothing, 0);
    assert.ok((middle as number) / 2 > 0.5 && last === 0);
    assert.deepEqual(between.shape, [1, 1, 3, 1, 3]);
    const share = (middle as number) / 2;
    const front = Math.fround(4 * share * (1 - share));
    assert.deepEqual(
      [...between.data].map((one) => Math.abs(one - front) < 1e-6),
      [0, 0, 0, 1, 1, 1, 0, 0, 0].map(Boolean),
    );
    assert.deepEqual([...between.data.slice(0, 3), ...between.data.slice(6)], [0, 0, 0, 0, 0, 0]);
  });

  it('judges each stretch between keyframes by what differs there', () => {
    const back = createTensor(from.shape, Float32Array.of(2, 2, 1));
    const { latents, between } = pathLatents([from, to, back], [0, 0.4, 1, 1.5, 2], 0.8);
    assert.deepEqual([...slice(latents, axis.time, 3, 4).data.slice(1)], [2, 1]);
    const halfway = [...slice(between, axis.time, 3, 4).data].map((one) => Math.round(one * 1e6) / 1e6);
    assert.deepEqual(halfway, [1, 1, 0], 'the second one is beside what is half changed');
  });
});

describe('pathPrompts', () => {
  const places = pathPlaces(9, 3, 'smooth');
  const keyframes = [embedsOf([0, 0], [1, 0]), embedsOf([2, 4], [1, 1]), embedsOf([6, 8], [1, 1])];
  const prompts = pathPrompts(keyframes, (frame) => places[frame] as number);

  it('gives a model of single frames the blend at each frame', () => {
    const blends = pathPrompts(keyframes, (frame) => [0, 0.25, 1, 1.75][frame] as number, 4);
    assert.deepEqual(
      blends.map(({ prompt }) => [...prompt.embeds.data]),
      [
        [0, 0],
        [0.5, 1],
        [2, 4],
        [5, 7],
      ],
    );
    for (const [frame, { weightAt }] of blends.entries()) {
      assert.deepEqual(
        blends.map((_, other) => weightAt?.(other)),
        blends.map((_, other) => (other === frame ? 1 : 0)),
      );
    }
  });

  it('asks for blends between neighbours', () => {
    assert.deepEqual(
      prompts.map(({ prompt }) => [...prompt.embeds.data]),
      [
        [0, 0],
        [1, 2],
        [2, 4],
        [4, 6],
        [6, 8],
      ],
    );
    assert.deepEqual([...(prompts[0]?.prompt.mask.data ?? [])], [1, 0], 'a pure prompt sees only its own tokens');
    assert.deepEqual([...(prompts[1]?.prompt.mask.data ?? [])], [1, 1]);
  });

  it('gives each frame weights that sum to 1, all of them on a keyframe’s own prompt where it stands', () => {
    for (let frame = 0; frame < places.length; frame++) {
      const weights = prompts.map(({ weightAt }) => weightAt?.(frame) as number);
      assert.ok(Math.abs(weights.reduce((a, b) => a + b) - 1) < 1e-6);
    }
    assert.deepEqual(
      prompts.map(({ weightAt }) => weightAt?.(4)),
      [0, 0, 1, 0, 0],
    );
  });
});
