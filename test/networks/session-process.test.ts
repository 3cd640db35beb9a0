import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

test('open networks keep no process alive, and onnxruntime prints nothing', async () => {
  const program = fileURLToPath(new URL('./leave-sessions-open.js', import.meta.url));
  // A process that is kept alive is killed, and execFile throws.
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [program], { timeout: 60_000 });
  assert.equal(stdout, 'NETWORK\n');
  assert.equal(stderr, '');
});
