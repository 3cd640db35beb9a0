// A VAE whose graphs run through a whole clip and keep their states to themselves (models/export/loop.py): the same as the
// graphs that it was joined from, which hand their states on from call to call.
import { createHash } from 'node:crypto';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join as joinPath } from 'node:path';
import { after, before, test } from 'node:test';
import { loadModel } from '../../src/networks/load-model.js';
import type { Model } from '../../src/networks/model.js';
import { assertClose, inPieces, join, noiseClip } from '../networks/tiny-model.js';
import { familyFixtures } from './fixtures.js';

/** Sums are the same; onnxruntime fuses operators differently inside a loop. */
const tolerance = 1e-4;
const halves = ['encoder', 'decoder'] as const;

let scratch: string;
let stepped: Model;
let whole: Model;
before(async () => {
  scratch = await mkdtemp(joinPath(tmpdir(), 'reelspace-whole-'));
  await cp(`${familyFixtures}tiny-wan-i2v`, scratch, { recursive: true });
  const file = joinPath(scratch, 'reelspace.json');
  const manifest = JSON.parse(await readFile(file, 'utf8'));
  manifest.files = manifest.files.filter(({ path }: { path: string }) => !path.startsWith('vae_'));
  for (const half of halves) {
    const path = `vae_${half}/model.onnx`;
    const bytes = await readFile(`${familyFixtures}tiny-wan-loop/vae_${half}.onnx`);
    await writeFile(joinPath(scratch, path), bytes);
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    manifest.files.push({ path, sizeBytes: bytes.length, sha256 });
    manifest.graphs[half === 'encoder' ? 'vaeEncoder' : 'vaeDecoder'] = { path, whole: true, states: [] };
  }
  await writeFile(file, JSON.stringify(manifest));
  stepped = await loadModel(`${familyFixtures}tiny-wan-i2v`, { device: 'cpu', threads: 1 });
  whole = await loadModel(scratch, { device: 'cpu', threads: 1 });
});
after(async () => {
  await stepped.close();
  await whole.close();
  await rm(scratch, { recursive: true });
});

for (const latentFrames of [1, 2, 4]) {
  test(`clips of ${latentFrames} latent frames, in any pieces`, async () => {
    const pixels = noiseClip([1, 3, 4 * latentFrames - 3, 32, 48]);
    const latents = noiseClip([1, 4, latentFrames, 4, 6]);
    for (const lengths of [[1], [3, 2]]) {
      assertClose(
        await join(whole.encode(inPieces(pixels, lengths))),
        await join(stepped.encode(inPieces(pixels, lengths))),
        tolerance,
      );
      assertClose(
        await join(whole.decode(inPieces(latents, lengths))),
        await join(stepped.decode(inPieces(latents, lengths))),
        tolerance,
      );
    }
  });
}
