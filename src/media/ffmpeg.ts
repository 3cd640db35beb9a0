// Finds the ffmpeg program that all media work runs on.
import { execFile } from 'node:child_process';
import { access, constants } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { promisify } from 'node:util';
import { expected, FfmpegNotFoundError } from '../errors.js';

/** The ffmpeg program in use. */
export interface FfmpegBinary {
  path: string;
  /** As the program itself prints it, such as `6.1.1` or `5.1.9-0+deb12u1`. */
  version: string;
  source: 'FFMPEG_PATH' | 'ffmpeg-static' | 'PATH' | '@ffmpeg-installer';
  /** What the user should know about this program, if anything. */
  warning?: string;
}

const waysToGetIt =
  'Install ffmpeg so that it is on the PATH, or run `npm rebuild ffmpeg-static` with network access, or set FFMPEG_PATH to an ffmpeg program.';

const ageWarning =
  'Using the ffmpeg of 2018 from @ffmpeg-installer/ffmpeg, because nothing newer was found: newer formats fail and its decoders miss years of security fixes. Install ffmpeg or set FFMPEG_PATH.';

let cached: { key: string | undefined; found: Promise<FfmpegBinary> } | undefined;

/**
 * Returns the ffmpeg to use: FFMPEG_PATH, then ffmpeg-static, then the PATH, then @ffmpeg-installer. Looked up once a
 * process. Throws FfmpegNotFoundError when there is none, and when FFMPEG_PATH is set but doesn't run.
 */
export function findFfmpeg(): Promise<FfmpegBinary> {
  const key = process.env.FFMPEG_PATH;
  if (cached === undefined || cached.key !== key) cached = { key, found: search(key) };
  return cached.found;
}

async function search(named: string | undefined): Promise<FfmpegBinary> {
  if (named !== undefined && named !== '') {
    const binary = await tryBinary(named, 'FFMPEG_PATH');
    if (binary !== undefined) return binary;
    throw new FfmpegNotFoundError(
      expected('FFMPEG_PATH', 'an ffmpeg program that runs', named, 'Correct it, or unset it to search elsewhere.'),
    );
  }
  const candidates = [
    { source: 'ffmpeg-static', locate: staticPackagePath },
    { source: 'PATH', locate: pathOnSearchPath },
    { source: '@ffmpeg-installer', locate: installerPackagePath },
  ] as const;
  for (const { source, locate } of candidates) {
    const path = await locate();
    const binary = path === undefined ? undefined : await tryBinary(path, source);
    if (binary !== undefined) return binary;
  }
  throw new FfmpegNotFoundError(`No ffmpeg was found. ${waysToGetIt}`);
}

async function tryBinary(path: string, source: FfmpegBinary['source']): Promise<FfmpegBinary | undefined> {
  try {
    const { stdout } = await promisify(execFile)(path, ['-version'], { windowsHide: true });
    const version = /^ffmpeg version (\S+)/.exec(stdout)?.[1];
    if (version === undefined) return undefined;
    return source === '@ffmpeg-installer' ? { path, version, source, warning: ageWarning } : { path, version, source };
  } catch {
    return undefined;
  }
}

async function staticPackagePath(): Promise<string | undefined> {
  try {
    return (await import('ffmpeg-static')).default ?? undefined;
  } catch {
    return undefined; // optional dependency: npm removes it when its download fails
  }
}

async function installerPackagePath(): Promise<string | undefined> {
  try {
    return (await import('@ffmpeg-installer/ffmpeg')).default.path;
  } catch {
    return undefined; // optional dependency, and it throws on platforms that it has no program for
  }
}

async function pathOnSearchPath(): Promise<string | undefined> {
  const fileName = process.platform === 'win32' ? 'ffmpeg.exe' : 'ffmpeg';
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    if (folder === '') continue;
    const path = join(folder, fileName);
    try {
      await access(path, constants.X_OK);
      return path;
    } catch {
      // not in this folder
    }
  }
  return undefined;
}
