// The documents say what the code does: codes, flags, scripts and links in them exist.
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { runCommandLine } from '../src/cli/command-line.js';
import * as errors from '../src/errors.js';
import * as api from '../src/index.js';
import { commandReference } from './cli/reference.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const read = (path: string) => readFileSync(join(root, path), 'utf8');
const documents = [
  'README.md',
  ...readdirSync(join(root, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
];

const errorClasses = Object.entries(errors).filter(
  ([, value]) => typeof value === 'function' && value.prototype instanceof errors.ReelspaceError,
) as [string, new (message: string) => errors.ReelspaceError][];

test('every error is in docs/errors.md with its code, and can be imported', () => {
  const text = read('docs/errors.md');
  assert.ok(errorClasses.length > 8);
  for (const [name, ErrorClass] of errorClasses) {
    assert.ok(text.includes(`| \`${new ErrorClass('').code}\` | \`${name}\` |`), name);
    assert.ok(name in api, name);
  }
});

test('docs/cli.md is what the schemas say', () => {
  assert.equal(read('docs/cli.md'), commandReference(), 'Run npm run docs.');
});

test('every link leads somewhere', () => {
  const broken = documents.flatMap((path) =>
    [...read(path).matchAll(/\]\(([^)#\s]+)[^)]*\)/g)]
      .map(([, target = '']) => target)
      .filter((target) => !/^https?:/.test(target) && !existsSync(join(root, dirname(path), target)))
      .map((target) => `${path}: ${target}`),
  );
  assert.deepEqual(broken, []);
});

test('every npm script that is named exists', () => {
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
  for (const path of documents) {
    for (const [, name = ''] of read(path).matchAll(/\bnpm run ([\w:-]+)/g))
      assert.ok(name in scripts, `${path}: ${name}`);
  }
});

test('every command line in the README is taken as far as its files', async () => {
  const lines = [...read('README.md').matchAll(/^(?:npx )?reelspace (.+)$/gm)].map(([, line = '']) => line);
  assert.ok(lines.length >= 8, `${lines.length} lines`);
  for (const line of lines.filter((line) => !/^(models|doctor)/.test(line))) {
    const words = [
      ...line
        .replace(/ +#.*$/, '')
        .replace(/ --model \S+/, '')
        .matchAll(/"([^"]*)"|(\S+)/g),
    ].map(([, quoted, bare]) => quoted ?? bare ?? '');
    // The model comes last of what is checked before anything is loaded.
    await assert.rejects(runCommandLine([...words, '--model', 'no-such-model', '--quiet']), errors.BundleError, line);
  }
});

test('what the README imports is there', () => {
  const names = [...read('README.md').matchAll(/^import \{([^}]+)\} from 'reelspace'/gm)].flatMap(([, list = '']) =>
    list.split(',').map((name) => name.trim()),
  );
  assert.ok(names.length > 0);
  for (const name of names) assert.ok(name in api, name);
});
