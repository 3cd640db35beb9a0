import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { createProgressDisplay, followStages } from '../../src/cli/progress-display.js';
import type { Progress } from '../../src/diffusion/progress.js';

/** A stream that is a terminal or isn't, and what was written to it. */
function stream(isTTY: boolean): { stream: NodeJS.WriteStream; written: () => string } {
  const through = new PassThrough();
  Object.assign(through, { isTTY, columns: 100 });
  return { stream: through as unknown as NodeJS.WriteStream, written: () => String(through.read() ?? '') };
}

test('denoising is shown while it lasts, then the stage nearest to the end', () => {
  const follow = followStages();
  const shown = (progress: Progress) => {
    const { stage, done } = follow(progress);
    return `${stage} ${done}`;
  };
  assert.equal(shown({ stage: 'encode', done: 5, total: undefined }), 'encode 5');
  assert.equal(shown({ stage: 'denoise', done: 1, total: 2 }), 'denoise 1');
  assert.equal(shown({ stage: 'write', done: 1, total: 9 }), 'denoise 1');
  assert.equal(shown({ stage: 'denoise', done: 2, total: 2 }), 'write 1');
  assert.equal(shown({ stage: 'decode', done: 9, total: 9 }), 'write 1');
  assert.equal(shown({ stage: 'write', done: 2, total: 9 }), 'write 2');
});

test('elsewhere than on a terminal there is a line for each tenth of a stage, and each window starts over', () => {
  const { stream: output, written } = stream(false);
  const display = createProgressDisplay(output, false);
  display.note('warning: odd');
  for (let window = 0; window < 2; window++) {
    for (let done = 1; done <= 20; done++) display.onProgress({ stage: 'denoise', done, total: 20 });
  }
  for (let done = 1; done <= 250; done++) display.onProgress({ stage: 'encode', done, total: undefined });
  display.stop();
  const denoise = [1, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20].map((done) => `denoise ${done}/20`);
  assert.deepEqual(written().split('\n'), [
    'warning: odd',
    ...denoise,
    ...denoise,
    ...['encode 1', 'encode 100', 'encode 200'],
    '',
  ]);
});

test('on a terminal there is a bar that is cleared at the end', (context) => {
  const { stream: output, written } = stream(true);
  const display = createProgressDisplay(output, false);
  context.after(display.stop);
  display.onProgress({ stage: 'denoise', done: 1, total: 4 });
  assert.match(written(), /denoise █{10}░{30} 1\/4/);
  display.note('warning: odd');
  assert.match(written(), /warning: odd\n/);
  display.onProgress({ stage: 'denoise', done: 4, total: 4 });
  display.onProgress({ stage: 'decode', done: 3, total: undefined });
  assert.match(written(), /decode {2}3/);
  display.stop();
  assert.doesNotMatch(written(), /decode/);
});

test('quiet shows notes only', () => {
  const { stream: output, written } = stream(true);
  const display = createProgressDisplay(output, true);
  display.onProgress({ stage: 'denoise', done: 1, total: 4 });
  display.note('warning: odd');
  display.stop();
  assert.equal(written(), 'warning: odd\n');
});
