// `reelspace models pull` and `reelspace models rm`: models from a hub, and away again.
import type { Argv, CommandModule } from 'yargs';
import { expected, InvalidOptionError } from '../errors.js';
import { removePulled } from '../hub/cache.js';
import { type PullProgress, pullModel } from '../hub/pull.js';
import { defaultRevision, isRepository, parseRepository } from '../hub/repository.js';
import { readBundle } from '../networks/bundle.js';
import { hubSettings } from './hub-settings.js';
import { watchInterruption } from './interruption.js';
import { note, print } from './print.js';
import { describeBytes } from './run-report.js';

interface Arguments {
  readonly name?: string;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

const jsonFlag = { type: 'boolean', describe: 'print one JSON object on stdout' } as const;

export const pullCommand: CommandModule = {
  command: 'pull <name>',
  describe: 'Bring a model from a hub into the cache, or go on with it',
  builder: (yargs: Argv) =>
    yargs
      .positional('name', { type: 'string', describe: 'org/name, or org/name@revision' })
      .option('json', jsonFlag)
      .option('quiet', { type: 'boolean', alias: 'q', describe: 'show no progress' })
      .epilogue(
        'Environment, as for huggingface_hub: HF_ENDPOINT, HF_TOKEN, HF_HOME, HF_HUB_CACHE, HF_HUB_OFFLINE.\n' +
          'The token is sent to the endpoint and to no other host.',
      ),
  handler: (given) => pull(given as Arguments),
};

export const removeCommand: CommandModule = {
  command: 'rm <name>',
  describe: 'Remove a model that was pulled, in all its revisions',
  builder: (yargs: Argv) => yargs.positional('name', { type: 'string', describe: 'org/name' }).option('json', jsonFlag),
  handler: (given) => remove(given as Arguments),
};

async function pull({ name = '', json = false, quiet = false }: Arguments): Promise<void> {
  const settings = await hubSettings();
  const interruption = watchInterruption(() => note('Stopping. What was received is kept for the next time.'));
  try {
    const pulled = await pullModel(name, {
      ...settings,
      signal: interruption.signal,
      onRetry: (reason, waitMs) => note(`${reason}. Trying again in ${Math.ceil(waitMs / 1000)} s.`),
      ...(quiet ? {} : { onProgress: linesOfProgress() }),
    });
    // A bundle made for a newer version, say, is told now and not at the first run.
    const { manifest } = await readBundle(pulled.path);
    if (json) return print(pulled);
    const { summary, license } = manifest;
    print(
      `${pulled.name} is there: ${describeBytes(pulled.sizeBytes)} in ${pulled.path}\n  ${summary}\n  licence: ${license}`,
    );
  } finally {
    interruption.stop();
  }
}

/** Returns a function that prints a line for each tenth of the model: counted, not timed. */
function linesOfProgress(): (progress: PullProgress) => void {
  let printed = -1;
  return ({ path, doneBytes, totalBytes }) => {
    const tenth = Math.floor((10 * doneBytes) / Math.max(1, totalBytes));
    if (tenth === printed) return;
    printed = tenth;
    note(`${describeBytes(doneBytes)} of ${describeBytes(totalBytes)}, ${path}`);
  };
}

async function remove({ name = '', json = false }: Arguments): Promise<void> {
  if (!isRepository(name)) {
    throw new InvalidOptionError(
      expected('model', 'org/name of one that was pulled', name, 'Bundled models and folders are not removed.'),
    );
  }
  const repository = parseRepository(name);
  if (repository.revision !== defaultRevision) {
    throw new InvalidOptionError(expected('model', 'org/name alone', name, 'All its revisions go together.'));
  }
  const { cacheFolder } = await hubSettings();
  await removePulled(cacheFolder, repository.name);
  print(json ? { removed: repository.name } : `${repository.name} is removed.`);
}
