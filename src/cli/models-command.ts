// `reelspace models`: what models there are, what they can do, whether they are whole, and how they come and go.
import type { Argv, CommandModule } from 'yargs';
import { listPulled } from '../hub/cache.js';
import { repositoryText } from '../hub/repository.js';
import { listModels, readBundle, verifyBundle } from '../networks/bundle.js';
import { estimateMemory, inspectBundle } from '../networks/inspect.js';
import { hubSettings, resolveModel } from './hub-settings.js';
import { print } from './print.js';
import { pullCommand, removeCommand } from './pull-command.js';
import { describeBytes } from './run-report.js';

interface Arguments {
  readonly name?: string;
  readonly json?: boolean;
}

/** The command with its subcommands. */
export const modelsCommand: CommandModule = {
  command: 'models',
  describe: 'List the models; `models info|verify NAME`, `models pull|rm ORG/NAME`',
  builder: (yargs: Argv) =>
    yargs
      .command(subcommand('info', 'Say what a model is and can do', showModel))
      .command(subcommand('verify', 'Check every file of a model against its SHA-256', verifyModel))
      .command(pullCommand)
      .command(removeCommand)
      .option('json', jsonFlag),
  handler: (given) => listAll(given as Arguments),
};

const jsonFlag = { type: 'boolean', describe: 'print one JSON object on stdout' } as const;

function subcommand(
  name: string,
  describe: string,
  run: (model: string, asJson: boolean) => Promise<void>,
): CommandModule {
  return {
    command: `${name} <name>`,
    describe,
    builder: (yargs: Argv) =>
      yargs
        .positional('name', {
          type: 'string',
          describe: 'name of a bundled model, org/name of a pulled one, or ./folder of one',
        })
        .option('json', jsonFlag),
    handler: (given) => {
      const { name: model = '', json = false } = given as Arguments;
      return run(model, json);
    },
  };
}

async function listAll({ json }: Arguments): Promise<void> {
  const models = await listModels();
  const pulled = await listPulled((await hubSettings()).cacheFolder);
  if (json === true) return print({ models, pulled });
  if (models.length + pulled.length === 0) return print('No model is bundled, and none was pulled.');
  const lines = [...models.map(({ name, summary }) => `${name}  ${summary}`), ...pulled.map(repositoryText)];
  print(lines.join('\n'));
}

async function showModel(name: string, asJson: boolean): Promise<void> {
  const bundle = await readBundle(await resolveModel(name));
  const { manifest, path } = bundle;
  const graphs = inspectBundle(bundle);
  const memoryBytes = estimateMemory(bundle, graphs);
  if (asJson) return print({ path, manifest, graphs, memoryBytes });
  const { defaults, latent, weights } = manifest;
  const rows: [string, string][] = [
    ['name', manifest.name],
    ['summary', manifest.summary],
    ['license', manifest.license],
    ['source', manifest.source],
    ['folder', path],
    ['tasks', manifest.tasks.join(', ')],
    ...Object.entries(manifest.vocabulary ?? {}).map(([kind, names]): [string, string] => [
      kind,
      inLines(names.toSorted()),
    ]),
    ['clip', `${defaults.numFrames} frames, ${defaults.width}x${defaults.height}, ${defaults.frameRate} fps`],
    ['steps', `${defaults.steps}, guidance ${defaults.guidanceScale}`],
    [
      'latents',
      `${latent.channels} channels, ${latent.temporalCompression}x${latent.spatialCompression}x${latent.spatialCompression}`,
    ],
    ['sizes', latent.fixedSize === true ? 'this one alone' : `multiples of ${latent.sizeMultiple}`],
    ...graphs.map(({ graph, path: place, parameters, weightType, sizeBytes }): [string, string] => {
      const difference = weights?.differences[place];
      const off = difference === undefined ? '' : `, ${(difference * 100).toFixed(2)} % off float32`;
      return [graph, `${(parameters / 1e6).toFixed(1)} M parameters, ${weightType}${off}, ${describeBytes(sizeBytes)}`];
    }),
    [
      'memory',
      `about ${describeBytes(memoryBytes)} at ${defaults.width}x${defaults.height}, and what the denoiser works with`,
    ],
  ];
  const width = Math.max(...rows.map(([label]) => label.length));
  const below = `\n${' '.repeat(width + 2)}`;
  print(rows.map(([label, text]) => `${label.padEnd(width)}  ${text.replaceAll('\n', below)}`).join('\n'));
}

/** Names beside each other, in lines of about 100 letters. */
function inLines(names: readonly string[]): string {
  const lines: string[] = [];
  for (const name of names) {
    const last = lines.at(-1);
    if (last === undefined || last.length + name.length > 100) lines.push(name);
    else lines[lines.length - 1] = `${last}, ${name}`;
  }
  return lines.join(',\n');
}

async function verifyModel(name: string, asJson: boolean): Promise<void> {
  const bundle = await readBundle(await resolveModel(name));
  await verifyBundle(bundle);
  const { files } = bundle.manifest;
  const sizeBytes = files.reduce((total, file) => total + file.sizeBytes, 0);
  if (asJson) return print({ name: bundle.manifest.name, ok: true, files: files.length, sizeBytes });
  print(`${bundle.manifest.name} is whole: ${files.length} files, ${describeBytes(sizeBytes)}.`);
}
