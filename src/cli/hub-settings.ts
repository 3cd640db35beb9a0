// Where models come from and where they lie, from the environment variables that huggingface_hub reads too.
import { readFile, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { BundleError, expected, InvalidOptionError } from '../errors.js';
import { findPulled } from '../hub/cache.js';
import { isRepository, parseRepository } from '../hub/repository.js';

/** What the environment says about the hub. */
export interface HubSettings {
  readonly endpoint: string;
  readonly cacheFolder: string;
  readonly isOffline: boolean;
  readonly token: string | undefined;
}

/** Returns the settings; the token is that of HF_TOKEN, or of the file that `hf auth login` writes. */
export async function hubSettings(environment: NodeJS.ProcessEnv = process.env): Promise<HubSettings> {
  const home = environment.HF_HOME ?? join(environment.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'huggingface');
  return {
    endpoint: environment.HF_ENDPOINT ?? 'https://huggingface.co',
    cacheFolder: environment.HF_HUB_CACHE ?? join(home, 'hub'),
    isOffline: /^(1|on|yes|true)$/i.test(environment.HF_HUB_OFFLINE ?? ''),
    token: tokenOf(
      environment.HF_TOKEN ??
        (await readFile(environment.HF_TOKEN_PATH ?? join(home, 'token'), 'utf8').catch(() => '')),
    ),
  };
}

/** Returns the folder of a model that was pulled, when the text has that form and names no folder; otherwise the text. Throws
 * BundleError when there is none. */
export async function resolveModel(nameOrPath: string): Promise<string> {
  if (!isRepository(nameOrPath) || (await isFolder(nameOrPath))) return nameOrPath;
  const { cacheFolder } = await hubSettings();
  const found = await findPulled(cacheFolder, parseRepository(nameOrPath));
  if (found !== undefined) return found;
  throw new BundleError(
    expected(
      'model',
      'a folder that exists or a model that was pulled',
      nameOrPath,
      `Run reelspace models pull ${nameOrPath}.`,
    ),
  );
}

async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (stats) => stats.isDirectory(),
    () => false,
  );
}

function tokenOf(text: string): string | undefined {
  const token = text.trim();
  if (token === '') return undefined;
  // What can't stand in a header would be told in full by the error about it.
  if (!/^[\x21-\x7e]+$/.test(token))
    throw new InvalidOptionError('Expected HF_TOKEN to be a token without blanks, got another text.');
  return token;
}
