import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { gather, type SourcePiece, sourceWindows } from '../../src/diffusion/source-windows.js';
import { jointPredict, planWindows, windowWeights } from '../../src/diffusion/windows.js';
import { axis, concat, createTensor, filled, slice, type Tensor } from '../../src/tensor/tensor.js';

/** Latents [1, 2, frames, 1, 2] whose numbers all differ. */
function counting(frames: number): Tensor {
  const shape = [1, 2, frames, 1, 2];
  return createTensor(
    shape,
    Float32Array.from({ length: 4 * frames }, (_, i) => i),
  );
}

describe('planWindows', () => {
  it('covers every length with full windows that share at least the overlap', () => {
    for (let total = 1; total <= 40; total++) {
      const windows = planWindows(total, 7, 2);
      let covered = 0;
      for (const [index, { start, end }] of windows.entries()) {
        assert.equal(end - start, Math.min(7, total));
        if (index > 0) assert.ok(covered - start >= 2, `windows of ${total} share too little`);
        assert.ok(start <= covered, `windows of ${total} leave a gap`);
        assert.ok(end > covered, `a window of ${total} adds nothing`);
        covered = end;
      }
      assert.equal(covered, total);
    }
  });

  it('refuses an overlap of a whole window', () => {
    assert.throws(() => planWindows(20, 4, 4), /Expected window overlap to be below/);
  });
});

describe('windowWeights', () => {
  it('ramps over what is shared, and is positive everywhere', () => {
    const windows = planWindows(12, 7, 2);
    assert.deepEqual(windows, [
      { start: 0, end: 7 },
      { start: 5, end: 12 },
    ]);
    const third = Math.fround(1 / 3);
    assert.deepEqual([...windowWeights(windows, 0)], [1, 1, 1, 1, 1, Math.fround(2 / 3), third]);
    assert.deepEqual([...windowWeights(windows, 1)], [third, Math.fround(2 / 3), 1, 1, 1, 1, 1]);
  });
});

describe('jointPredict', () => {
  it('leaves a prediction that depends on one frame alone unchanged', async () => {
    const latents = counting(12);
    const predict = jointPredict(planWindows(12, 7, 3), async (_, part) => ({
      data: part.data.map((value) => 2 * value + 1),
      shape: part.shape,
    }));
    const { data } = await predict(latents, 0, 0);
    for (const [i, value] of data.entries()) assert.ok(Math.abs(value - (2 * i + 1)) < 1e-4);
  });

  it('blends windows that disagree by their ramps', async () => {
    const windows = planWindows(12, 7, 2);
    const predict = jointPredict(windows, async (window, part) => filled(part.shape, window.start === 0 ? 0 : 3));
    const { data } = await predict(createTensor([1, 1, 12, 1, 1]), 0, 0);
    const wanted = [0, 0, 0, 0, 0, 1, 2, 3, 3, 3, 3, 3];
    for (const [i, value] of data.entries()) assert.ok(Math.abs(value - (wanted[i] as number)) < 1e-6);
  });
});

describe('sourceWindows', () => {
  it('yields what planWindows plans, whatever the pieces', async () => {
    for (const total of [1, 3, 7, 8, 12, 13, 24]) {
      const whole = counting(total);
      const keep = { ...slice(whole, axis.channels, 0, 1) };
      for (const pieceLength of [1, 2, 5, 30]) {
        async function* pieces(): AsyncGenerator<SourcePiece> {
          for (let start = 0; start < total; start += pieceLength) {
            const end = Math.min(total, start + pieceLength);
            yield { latents: slice(whole, axis.time, start, end), keep: slice(keep, axis.time, start, end) };
          }
        }
        const planned = planWindows(total, 7, 2);
        const found = [];
        for await (const { window, latents, keep: kept } of sourceWindows(pieces(), 7, 2, (piece) => piece)) {
          assert.deepEqual(latents, slice(whole, axis.time, window.start, window.end));
          assert.deepEqual(kept, slice(keep, axis.time, window.start, window.end));
          found.push(window);
        }
        assert.deepEqual(found, planned, `${total} frames in pieces of ${pieceLength}`);
      }
    }
  });

  it('yields nothing for a source without frames', async () => {
    async function* none(): AsyncGenerator<SourcePiece> {}
    const windows = [];
    for await (const window of sourceWindows(none(), 7, 2, (piece) => piece)) windows.push(window);
    assert.deepEqual(windows, []);
    assert.equal(await gather(none()), undefined);
  });

  it('gathers pieces in order', async () => {
    const parts = [counting(2), counting(3)];
    async function* pieces(): AsyncGenerator<SourcePiece> {
      for (const latents of parts) yield { latents };
    }
    assert.deepEqual(await gather(pieces()), {
      latents: concat(parts, axis.time),
      deviation: undefined,
      keep: undefined,
      greyed: undefined,
    });
  });
});
