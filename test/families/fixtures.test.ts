// What is committed for tests is fetched with every clone.
import assert from 'node:assert/strict';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const folder = fileURLToPath(new URL('../../../test/fixtures/', import.meta.url));
const largestBytes = 15e6;

test('fixtures stay small', () => {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((name) => join(folder, name));
  const bytes = files.map((file) => statSync(file)).reduce((sum, file) => sum + (file.isFile() ? file.size : 0), 0);
  assert.ok(bytes > 0 && bytes < largestBytes, `test/fixtures holds ${(bytes / 1e6).toFixed(1)} MB`);
});
