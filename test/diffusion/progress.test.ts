import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { StageClock, timeEach } from '../../src/diffusion/progress.js';

/** Busy for about that many milliseconds. */
async function work(ms: number): Promise<number> {
  const end = performance.now() + ms;
  while (performance.now() < end);
  return ms;
}

describe('StageClock', () => {
  it('does not count the stages that a stage pulls from twice', async () => {
    const clock = new StageClock();
    async function* decoded() {
      for (let chunk = 0; chunk < 3; chunk++) {
        await clock.time('denoise', () => work(30));
        yield await work(10);
      }
    }
    const start = performance.now();
    for await (const _ of timeEach(clock, 'decode', decoded()));
    const whole = (performance.now() - start) / 1000;
    const { denoise = 0, decode = 0 } = clock.seconds;
    assert.ok(denoise >= 0.09 && decode >= 0.03, `${denoise} and ${decode}`);
    assert.ok(denoise + decode <= whole, `${denoise} + ${decode} of ${whole}`);
  });

  it('counts a stage that failed', async () => {
    const clock = new StageClock();
    await assert.rejects(
      clock.time('encode', () => work(5).then(() => Promise.reject(new Error('no')))),
      /no/,
    );
    assert.ok((clock.seconds.encode ?? 0) >= 0.005);
  });

  it('ends what it times when its reader leaves', async () => {
    let ended = false;
    async function* items() {
      try {
        yield 1;
        yield 2;
      } finally {
        ended = true;
      }
    }
    for await (const _ of timeEach(new StageClock(), 'encode', items())) break;
    assert.ok(ended);
  });
});
