// The import table: which folder may import which, and the one door to each thing outside.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { basename, dirname, join, posix, sep } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../', import.meta.url));

/** A folder of src (or a file right in it) and those that it may import, besides itself. */
const table: Readonly<Record<string, readonly string[]>> = {
  'src/errors.ts': [],
  'src/tensor': ['src/errors.ts'],
  'src/media': ['src/errors.ts', 'src/tensor'],
  'src/networks': ['src/errors.ts', 'src/tensor'],
  'src/schedulers': ['src/errors.ts', 'src/tensor'],
  'src/diffusion': ['src/errors.ts', 'src/tensor', 'src/media', 'src/networks', 'src/schedulers'],
  'src/jobs': ['src/errors.ts'],
  'src/hub': ['src/errors.ts'],
  pipelines: ['src/errors.ts', 'src/tensor', 'src/media', 'src/networks', 'src/schedulers', 'src/diffusion'],
  'src/index.ts': [
    'src/errors.ts',
    'src/tensor',
    'src/media',
    'src/networks',
    'src/schedulers',
    'src/diffusion',
    'src/jobs',
    'src/hub',
    'pipelines',
  ],
  'src/cli': [
    'src/errors.ts',
    'src/tensor',
    'src/media',
    'src/networks',
    'src/schedulers',
    'src/diffusion',
    'src/jobs',
    'src/hub',
    'pipelines',
  ],
};

/** Where each thing outside may be imported or named; everything not listed may be used anywhere. */
const doors: Readonly<Record<string, readonly string[]>> = {
  'fluent-ffmpeg': ['src/media/command.ts'],
  'ffmpeg-static': ['src/media/'],
  '@ffmpeg-installer/ffmpeg': ['src/media/'],
  sharp: ['src/media/'],
  'onnxruntime-node': ['src/networks/'],
  '@huggingface/tokenizers': ['src/networks/'],
  'p-queue': ['src/networks/', 'src/jobs/'],
  yargs: ['src/cli/'],
  'yargs/helpers': ['src/cli/'],
  'cli-progress': ['src/cli/'],
};

const globals: Readonly<Record<string, readonly string[]>> = {
  'process.argv': ['src/cli/'],
  'process.env': ['src/cli/', 'src/media/ffmpeg.ts'],
  'process.exit': ['src/cli/'],
  'console.': ['src/cli/'],
  fetch: ['src/hub/'],
};

interface SourceFile {
  /** From the root, with slashes. */
  readonly path: string;
  readonly imports: readonly string[];
  /** Those of them that are there at run time. */
  readonly loaded: readonly string[];
  /** The text without comments and quoted strings. */
  readonly code: string;
}

const quoted = String.raw`'([^'\n]+)'|"([^"\n]+)"`;
const importForms = [
  `^(?:import|export)\\b[^'"]*?\\bfrom\\s*(?:${quoted})`,
  `^import\\s*(?:${quoted})`,
  `\\bimport\\(\\s*(?:${quoted})\\s*\\)`,
  `\\bnew URL\\(\\s*(?:${quoted}),\\s*import\\.meta\\.url`,
].map((form) => new RegExp(form, 'gm'));

function readSource(path: string): SourceFile {
  const text = readFileSync(join(root, path), 'utf8');
  const uncommented = text.replace(/('(?:\\.|[^'\\\n])*')|\/\*[\s\S]*?\*\/|\/\/[^\n]*/g, (_, string) => string ?? '');
  const found = importForms.flatMap((form) =>
    [...uncommented.matchAll(form)].map(([text, single, double]) => ({
      specifier: single ?? double ?? '',
      isType: /^(import|export)\s+type\b/.test(text),
    })),
  );
  const imports = found.map(({ specifier }) => specifier);
  const loaded = found.flatMap(({ specifier, isType }) => (isType ? [] : [specifier]));
  return { path, imports, loaded, code: uncommented.replace(/'(?:\\.|[^'\\\n])*'/g, "''") };
}

function readSources(): SourceFile[] {
  return ['src', 'pipelines'].flatMap((folder) =>
    readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
      .filter((path) => path.endsWith('.ts'))
      .map((path) => readSource(posix.join(folder, path.split(sep).join('/')))),
  );
}

/** Returns the row of the table that a source file belongs to. */
function rowOf(path: string): string {
  const row = Object.keys(table).find((name) => path === name || path.startsWith(`${name}/`));
  assert.ok(row !== undefined, `${path} is in no row of the import table`);
  return row;
}

/** Returns the path from the root of a relative import, or undefined for a package. */
function resolved(from: string, specifier: string): string | undefined {
  if (!specifier.startsWith('.')) return undefined;
  return posix.join(posix.dirname(from), specifier).replace(/\.js$/, '.ts');
}

function brokenRules({ path, imports, code }: Omit<SourceFile, 'loaded'>): string[] {
  const row = rowOf(path);
  const broken: string[] = [];
  for (const specifier of imports) {
    const target = resolved(path, specifier);
    if (target === undefined) {
      const allowed = doors[specifier];
      if (allowed?.some((door) => path.startsWith(door)) === false) broken.push(`${path} imports ${specifier}`);
      continue;
    }
    if (!target.endsWith('.ts')) continue; // the folder of the models, as a URL
    const targetRow = rowOf(target);
    if (targetRow !== row && table[row]?.includes(targetRow) !== true) broken.push(`${path} imports ${target}`);
    if (row === 'pipelines' && targetRow === 'pipelines' && path !== 'pipelines/index.ts') {
      broken.push(`${path} imports the pipeline ${target}`);
    }
  }
  for (const [name, allowed] of Object.entries(globals)) {
    const named = new RegExp(`(?<![\\w.])${name.replace('.', '\\.')}${name.endsWith('.') ? '' : '\\b'}`).test(code);
    if (named && !allowed.some((door) => path.startsWith(door))) broken.push(`${path} names ${name}`);
  }
  return broken;
}

const sources = readSources();

test('imports point one way and each thing outside has one door', () => {
  assert.deepEqual(sources.flatMap(brokenRules), []);
});

test('the rules see what they forbid', () => {
  const breaks = (path: string, imports: string[], code = '') => brokenRules({ path, imports, code });
  assert.deepEqual(breaks('src/media/probe.ts', ['../networks/model.js']), [
    'src/media/probe.ts imports src/networks/model.ts',
  ]);
  assert.deepEqual(breaks('src/tensor/tensor.ts', ['../media/frame.js']), [
    'src/tensor/tensor.ts imports src/media/frame.ts',
  ]);
  assert.deepEqual(breaks('pipelines/morph.ts', ['./decode.js']), [
    'pipelines/morph.ts imports the pipeline pipelines/decode.ts',
  ]);
  assert.deepEqual(breaks('src/media/probe.ts', ['fluent-ffmpeg']), ['src/media/probe.ts imports fluent-ffmpeg']);
  assert.deepEqual(breaks('src/jobs/job.ts', [], 'console.log(process.env.HOME)'), [
    'src/jobs/job.ts names process.env',
    'src/jobs/job.ts names console.',
  ]);
  assert.deepEqual(breaks('src/diffusion/sample.ts', ['../media/frame.js', 'zod'], 'const x = progress.argv'), []);
});

test('imports are found in every form', () => {
  const { imports } = readSource('src/networks/worker-host.ts');
  assert.ok(imports.includes('../errors.js'), imports.join());
  const { imports: lazy } = readSource('src/media/ffmpeg.ts');
  assert.ok(lazy.includes('ffmpeg-static'), lazy.join());
});

test('no source file loads itself in a circle', () => {
  const graph = new Map(
    sources.map(({ path, loaded }) => [path, loaded.map((specifier) => resolved(path, specifier) ?? '')]),
  );
  const done = new Set<string>();
  const cycles: string[] = [];
  const visit = (path: string, trail: readonly string[]): void => {
    if (trail.includes(path)) {
      cycles.push([...trail.slice(trail.indexOf(path)), path].join(' -> '));
    } else if (!done.has(path)) {
      for (const next of graph.get(path) ?? []) visit(next, [...trail, path]);
      done.add(path);
    }
  };
  for (const path of graph.keys()) visit(path, []);
  assert.deepEqual(cycles, []);
});

test('files are named for what they hold', () => {
  const misnamed = sources.filter(({ path }) => {
    const parts = [...dirname(path).split('/'), basename(path).replace(/(\.d)?\.ts$/, '')];
    return parts.some((part) => !/^[a-z0-9]+(-[a-z0-9]+)*$/.test(part) || /^(utils?|helpers?|common|misc)$/.test(part));
  });
  assert.deepEqual(
    misnamed.map(({ path }) => path),
    [],
  );
});
