// Runs every compiled test, or those whose path holds one of the arguments, and prints node:test's counts at the end.
import { readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join, relative, sep } from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { fileURLToPath } from 'node:url';

/** A test that takes this long hangs. */
const timeoutMs = 10 * 60_000;
/** Networks and ffmpeg use threads of their own. */
const mostFilesAtOnce = 2;

const folder = fileURLToPath(new URL('.', import.meta.url));
const wanted = process.argv.slice(2).map((path) => path.replace(/\.ts$/, '.js').replace(/^(dist\/)?test\//, ''));
const files = readdirSync(folder, { recursive: true, encoding: 'utf8' })
  .filter((path) => path.endsWith('.test.js'))
  .map((path) => path.split(sep).join('/'))
  .filter((path) => wanted.length === 0 || wanted.some((part) => path.includes(part)))
  .sort()
  .map((path) => join(folder, path));

if (files.length === 0) {
  console.error(`No test file has ${wanted.join(' or ')} in its path.`);
  process.exitCode = 1;
} else {
  const failures: string[] = [];
  const tests = run({ files, concurrency: Math.min(mostFilesAtOnce, availableParallelism()), timeout: timeoutMs });
  const place = ({ name, file }: { name: string; file?: string }) =>
    file === undefined ? name : `${relative(folder, file)}: ${name}`;
  tests.on('test:fail', (test) => failures.push(place(test)));
  tests.on('test:pass', (test) => {
    // On a developer's machine a part may be missing that a test needs; where CI runs, nothing may be.
    if (process.env.CI === 'true' && test.skip !== undefined) failures.push(`${place(test)} (skipped)`);
  });
  tests.compose(new spec()).pipe(process.stdout);
  tests.once('end', () => {
    if (failures.length === 0) return;
    process.exitCode = 1;
    process.once('exit', () => console.error(`Failed:\n${failures.map((failure) => `  ${failure}`).join('\n')}`));
  });
}
