// `reelspace doctor`: what is there to work with, and what is missing.
import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, freemem, totalmem } from 'node:os';
import type { CommandModule } from 'yargs';
import { ReelspaceError } from '../errors.js';
import { listPulled } from '../hub/cache.js';
import { repositoryText } from '../hub/repository.js';
import { findFfmpeg } from '../media/ffmpeg.js';
import { listModels, readBundle, verifyBundle } from '../networks/bundle.js';
import { listDevices } from '../networks/device.js';
import { exitCodes } from './failure.js';
import { hubSettings } from './hub-settings.js';
import { print } from './print.js';
import { describeBytes } from './run-report.js';

/** One thing that was looked at. */
interface Finding {
  readonly about: string;
  /** `missing` keeps reelspace from working, `absent` does not. */
  readonly state: 'ok' | 'absent' | 'warning' | 'missing';
  readonly text: string;
}

/** Reads package.json, seen from dist/src/cli. */
export const packageInfo = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as {
  readonly version: string;
  readonly dependencies: Readonly<Record<string, string>>;
};

export const doctorCommand: CommandModule = {
  command: 'doctor',
  describe: 'Say what is there: ffmpeg, devices, memory, models',
  builder: (yargs) => yargs.option('json', { type: 'boolean', describe: 'print one JSON object on stdout' }),
  handler: async (given) => {
    const findings = [
      ...machine(),
      await ffmpeg(),
      ...(await devices()),
      ...(await models()),
      ...(await pulledModels()),
    ];
    const ok = findings.every(({ state }) => state !== 'missing');
    print(given.json === true ? { ok, findings } : describe(findings));
    if (!ok) process.exitCode = exitCodes.failed;
  },
};

function describe(findings: readonly Finding[]): string {
  const width = Math.max(...findings.map(({ about }) => about.length));
  const marks = { ok: 'ok     ', absent: '-      ', warning: 'warning', missing: 'MISSING' } as const;
  return findings.map(({ about, state, text }) => `${about.padEnd(width)}  ${marks[state]}  ${text}`).join('\n');
}

function machine(): Finding[] {
  const { version, dependencies } = packageInfo;
  const cores = `${cpus()[0]?.model.trim() ?? 'unknown CPU'}, ${availableParallelism()} threads`;
  const memory = `${describeBytes(totalmem())}, ${describeBytes(freemem())} free`;
  return [
    { about: 'reelspace', state: 'ok', text: version },
    { about: 'node', state: 'ok', text: `${process.version}, ${process.platform} ${process.arch}` },
    // Pinned to one version, so what package.json says is what is there.
    { about: 'onnxruntime', state: 'ok', text: dependencies['onnxruntime-node'] ?? 'unknown' },
    { about: 'processor', state: 'ok', text: cores },
    { about: 'memory', state: 'ok', text: memory },
  ];
}

async function ffmpeg(): Promise<Finding> {
  return inspect('ffmpeg', async () => {
    const { version, path, source, warning } = await findFfmpeg();
    const text = `${version}, ${path} (from ${source})`;
    return warning === undefined ? { text } : { state: 'warning', text: `${text}. ${warning}` };
  });
}

async function devices(): Promise<Finding[]> {
  const found = await listDevices();
  return found.map(({ device, available, detail }) => ({
    about: `device ${device}`,
    state: available ? 'ok' : 'absent',
    text: detail,
  }));
}

async function models(): Promise<Finding[]> {
  const listings = await listModels();
  if (listings.length === 0) return [{ about: 'models', state: 'missing', text: 'No model is bundled.' }];
  return Promise.all(
    listings.map(({ name }) =>
      inspect(`model ${name}`, async () => {
        const bundle = await readBundle(name);
        await verifyBundle(bundle);
        return { text: `${bundle.manifest.files.length} files, whole` };
      }),
    ),
  );
}

/** Of these only what is quickly read is looked at, as their weights may take minutes. Without one of them everything else works. */
async function pulledModels(): Promise<Finding[]> {
  const { cacheFolder } = await hubSettings();
  return Promise.all(
    (await listPulled(cacheFolder)).map((listing) => {
      const model = repositoryText(listing);
      const look = async () => {
        const { files } = (await readBundle(listing.path)).manifest;
        const hashed = files.every(({ sha256 }) => sha256 !== undefined);
        return { text: `${files.length} files${hashed ? `, not hashed: reelspace models verify ${model} does` : ''}` };
      };
      return inspect(`model ${model}`, look, 'warning');
    }),
  );
}

async function inspect(
  about: string,
  look: () => Promise<{ state?: Finding['state']; text: string }>,
  ifFailing: Finding['state'] = 'missing',
): Promise<Finding> {
  try {
    const { state = 'ok', text } = await look();
    return { about, state, text };
  } catch (error) {
    if (error instanceof ReelspaceError) return { about, state: ifFailing, text: error.message };
    throw error;
  }
}
