import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { clipSize, sourceSize } from '../../src/diffusion/geometry.js';
import { InvalidOptionError } from '../../src/errors.js';
import type { Manifest } from '../../src/networks/manifest.js';

function manifestWith(fixedSize: boolean): Manifest {
  return { latent: { sizeMultiple: 16, fixedSize }, defaults: { width: 96, height: 64 } } as unknown as Manifest;
}

describe('a source’s size', () => {
  const source = { width: 1080, height: 1920 };

  it('keeps the source’s shape, in multiples of what the model takes', () => {
    assert.deepEqual(sourceSize(manifestWith(false), source, {}), { width: 64, height: 112 });
    assert.deepEqual(sourceSize(manifestWith(false), source, { width: 48 }), { width: 48, height: 80 });
    assert.throws(() => sourceSize(manifestWith(false), source, { width: 50 }), /width to be a multiple of 16, got 50/);
  });

  it('is the model’s own where that makes one size alone', () => {
    assert.deepEqual(sourceSize(manifestWith(true), source, {}), { width: 96, height: 64 });
    assert.deepEqual(clipSize(manifestWith(true), { height: 64 }), { width: 96, height: 64 });
    assert.throws(
      () => sourceSize(manifestWith(true), source, { width: 48 }),
      (error) =>
        error instanceof InvalidOptionError &&
        error.message === 'Expected width to be 96, as this model makes one size alone, got 48. Leave it out.',
    );
  });
});
