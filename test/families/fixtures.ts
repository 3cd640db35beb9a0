// The toy bundles of test/fixtures/families. The repository keeps each graph once, as shared/<SHA-256>.onnx.gz, since families have parts
// in common; models/export/parity/fixtures.py takes them out of the bundles.
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';

const kept = fileURLToPath(new URL('../../../test/fixtures/families/', import.meta.url));

/** Folder of whole bundles and of the goldens beside them, which ends in a slash and lasts as long as the process. */
export const familyFixtures = assemble();

function assemble(): string {
  const folder = mkdtempSync(join(tmpdir(), 'reelspace-families-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  const shared = join(kept, 'shared');
  cpSync(kept, folder, { recursive: true, filter: (source) => source !== shared });
  for (const name of readdirSync(folder)) {
    const manifest = join(folder, name, 'reelspace.json');
    if (!existsSync(manifest)) continue;
    const { files } = JSON.parse(readFileSync(manifest, 'utf8')) as { files: { path: string; sha256: string }[] };
    for (const { path, sha256 } of files) {
      const place = join(folder, name, path);
      if (existsSync(place)) continue;
      mkdirSync(dirname(place), { recursive: true });
      writeFileSync(place, gunzipSync(readFileSync(join(shared, `${sha256}.onnx.gz`))));
    }
  }
  return join(folder, '/');
}
