// `npm run parity [-- FAMILY ...]`: exports the toy pipelines afresh, runs diffusers and reelspace on them, and prints how far apart they are.
import { spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { loadModel } from '../../src/networks/load-model.js';
import { openSafetensors } from '../../src/tensor/safetensors.js';
import { compareRun, familiesIn, readCases, tolerance } from './compare.js';

const models = fileURLToPath(new URL('../../../models/', import.meta.url));
const python = process.env.REELSPACE_PYTHON ?? 'python3';

const folder = await mkdtemp(join(tmpdir(), 'reelspace-parity-'));
try {
  const made = spawnSync(python, ['-m', 'export.parity', '--out', folder, ...process.argv.slice(2)], {
    cwd: models,
    stdio: ['ignore', 2, 2],
  });
  if (made.status === 0) await printTable();
  else {
    console.error(
      `Expected ${python} to make the models. Set REELSPACE_PYTHON to one that has models/export/requirements.txt.`,
    );
    process.exitCode = 1;
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}

async function printTable(): Promise<void> {
  console.log(
    '| family | run | pipeline | latents, share of the largest | frames, grey levels |\n|---|---|---|---|---|',
  );
  for (const family of familiesIn(folder)) {
    const goldenPath = join(folder, `${family}.safetensors`);
    const { cases, bundle } = await readCases(goldenPath);
    const model = await loadModel(bundle, { device: 'cpu', threads: 1 });
    const golden = await openSafetensors(goldenPath);
    try {
      for (const run of cases) {
        const { latents, frames } = await compareRun(model, golden, run, folder);
        console.log(`| ${family} | ${run.name} | ${run.pipeline} | ${latents.toExponential(1)} | ${frames} |`);
        // Written so that a difference that is no number fails too.
        if (!(latents <= tolerance.latents && frames <= tolerance.frames)) process.exitCode = 1;
      }
    } finally {
      await golden.close();
      await model.close();
    }
  }
  console.log(`Expected at most ${tolerance.latents} in latents and ${tolerance.frames} in frames.`);
}
