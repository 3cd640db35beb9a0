import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { BundleError, DeviceError, NetworkError } from '../../src/errors.js';
import { loadModel } from '../../src/networks/load-model.js';
import type { Device } from '../../src/networks/model.js';
import { joinHost, leaveHost } from '../../src/networks/worker-host.js';
import { assertClose, collect, golden, inPieces, join, tinyBundlePath, withTinyModel } from './tiny-model.js';

let scratch: string;
before(async () => {
  scratch = await mkdtemp(path.join(tmpdir(), 'reelspace-model-'));
});
after(() => rm(scratch, { recursive: true }));

/** Returns a copy of the tiny bundle in which one file has other content, and the manifest knows of it. */
async function withFile(name: string, file: string, content: Buffer): Promise<string> {
  const folder = path.join(scratch, name);
  await cp(tinyBundlePath, folder, { recursive: true });
  await writeFile(path.join(folder, file), content);
  const manifestPath = path.join(folder, 'reelspace.json');
  const manifest = JSON.parse(await readFile(manifestPath, 'utf8'));
  const entry = manifest.files.find((listed: { path: string }) => listed.path === file);
  Object.assign(entry, { sizeBytes: content.length, sha256: createHash('sha256').update(content).digest('hex') });
  await writeFile(manifestPath, JSON.stringify(manifest));
  return folder;
}

test('a model says what it is', () =>
  withTinyModel(async (model) => {
    assert.equal(model.name, 'tiny-bundle');
    assert.equal(model.path, tinyBundlePath);
    assert.equal(model.manifest.latent.channels, 16);
    assert.equal(model.schedulerConfig._class_name, 'FlowMatchEulerDiscreteScheduler');
    assert.equal(model.schedulerConfig.shift, 3);
    assert.deepEqual(model.device, { device: 'cpu', reason: 'it was asked for' });
  }));

test('a model or device that is not there is an error that says so', async () => {
  await assert.rejects(loadModel(path.join(scratch, 'nowhere')), BundleError);
  await assert.rejects(loadModel(tinyBundlePath, { device: 'abacus' as Device }), DeviceError);
});

test('networks are opened when they are needed: a broken one harms only its own stage', async () => {
  const folder = await withFile('broken-decoder', 'vae_decoder/model.onnx', Buffer.from('not a network'));
  const model = await loadModel(folder, { device: 'cpu' });
  try {
    const latents = await join(model.encode(inPieces(await golden('clip'), [25])));
    assertClose(latents, await golden('clip.latents'), 1e-4);
    await assert.rejects(collect(model.decode(inPieces(latents, [7]))), (error) => {
      assert.ok(error instanceof BundleError, String(error));
      assert.match(error.message, /vae_decoder/);
      return true;
    });
  } finally {
    await model.close();
  }
});

test('a failure to open a network is not kept: once the file is mended the model works', async () => {
  const decoder = 'vae_decoder/model.onnx';
  const content = await readFile(path.join(tinyBundlePath, decoder));
  const folder = await withFile('mended', decoder, content);
  const model = await loadModel(folder, { device: 'cpu' });
  try {
    const latents = await golden('clip.latents');
    await writeFile(path.join(folder, decoder), content.toReversed());
    await assert.rejects(collect(model.decode(inPieces(latents, [7]))), BundleError);
    await writeFile(path.join(folder, decoder), content);
    assertClose(await join(model.decode(inPieces(latents, [7]))), await golden('clip.decoded'), 1e-4);
  } finally {
    await model.close();
  }
});

test('a graph that is not what the manifest says is a bundle error', async () => {
  const encoder = await readFile(path.join(tinyBundlePath, 'vae_encoder/model.onnx'));
  const model = await loadModel(await withFile('swapped', 'vae_decoder/model.onnx', encoder), { device: 'cpu' });
  try {
    await assert.rejects(
      collect(model.decode(inPieces(await golden('clip.latents'), [7]))),
      /does not fit tiny-bundle's/,
    );
  } finally {
    await model.close();
  }
});

test('a vocabulary that is missing or garbled is a bundle error', async () => {
  const file = 'tokenizer/tokenizer.json';
  for (const [name, content] of [
    ['cut', '{"version": "1.0", "model'],
    ['empty', '{}'],
    ['list', '[]'],
  ] as const) {
    const model = await loadModel(await withFile(name, file, Buffer.from(content)), { device: 'cpu' });
    await assert.rejects(model.encodePrompts(['a cat']), (error) => {
      assert.ok(error instanceof BundleError, String(error));
      assert.match(error.message, /tokenizer\.json/);
      return true;
    });
    await model.close();
  }
});

test('many calls at once share one network, and closing frees it', async () => {
  const host = joinHost('cpu');
  try {
    await withTinyModel(async (model) => {
      const one = await model.encodePrompts(['a cat']);
      const many = await Promise.all(Array.from({ length: 8 }, () => model.encodePrompts(['a cat'])));
      for (const embeds of many) assert.deepEqual(embeds, one);
      assert.equal(host.users, 2);
      await join(model.encode(inPieces(await golden('clip'), [25])));
      assert.equal(host.users, 3);
    });
    assert.equal(host.users, 1);
  } finally {
    leaveHost('cpu', host);
  }
});

test('a closed model says that it is closed', async () => {
  const model = await loadModel(tinyBundlePath, { device: 'cpu' });
  await model.encodePrompts(['a cat']);
  await model.close();
  await model.close();
  const clip = await golden('clip');
  const latents = await golden('clip.latents');
  for (const call of [
    () => model.encodePrompts(['a cat']),
    () => collect(model.encode(inPieces(clip, [25]))),
    () => collect(model.decode(inPieces(latents, [7]))),
  ]) {
    await assert.rejects(call, (error) => {
      assert.ok(error instanceof NetworkError, String(error));
      assert.match(error.message, /tiny-bundle was closed\. Load it again/);
      return true;
    });
  }
});
