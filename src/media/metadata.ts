// What an output says about its making: written into the file, and read back from it.
import { readFile } from 'node:fs/promises';
import { expected, FfmpegError, InvalidOptionError, MediaError } from '../errors.js';
import { runFfmpeg } from './command.js';
import { readFailure } from './failures.js';
import { detectMediaKind } from './media-kind.js';

/** The words that every kind of output but GIF keeps. */
export interface OutputMetadata {
  title?: string;
  /** Where reelspace keeps the settings of a run, as JSON. */
  comment?: string;
}

const keys = ['title', 'comment'] as const;

/** Returns the words as a plain list. Throws InvalidOptionError for a key that outputs don't keep. */
export function metadataEntries(metadata: OutputMetadata | undefined): [key: keyof OutputMetadata, text: string][] {
  const unknown = Object.keys(metadata ?? {}).find((key) => !(keys as readonly string[]).includes(key));
  if (unknown !== undefined) throw new InvalidOptionError(expected('metadata key', keys.join(' or '), unknown));
  return keys.flatMap((key) => {
    const text = metadata?.[key];
    return text === undefined ? [] : [[key, text] as [keyof OutputMetadata, string]];
  });
}

/** Returns the words in a media file, by lower-case key. Throws MediaError. */
export async function readMetadata(path: string, options: { signal?: AbortSignal } = {}): Promise<Map<string, string>> {
  if ((await detectMediaKind(path)) !== 'stream') return readImageMetadata(path);
  const { stdout } = await runFfmpeg({
    inputs: [{ source: path }],
    options: ['-f', 'ffmetadata'],
    output: 'pipe:1',
    signal: options.signal,
  }).catch((error: unknown) => {
    throw error instanceof FfmpegError ? readFailure(path, error) : error;
  });
  return parseFfmetadata(stdout);
}

/** Returns the settings that reelspace wrote into a file. Throws MediaError when there are none. */
export async function readSettings(path: string, options: { signal?: AbortSignal } = {}): Promise<unknown> {
  const comment = (await readMetadata(path, options)).get('comment');
  try {
    if (comment !== undefined) return JSON.parse(comment);
  } catch {
    // somebody else's comment
  }
  throw new MediaError(
    `Expected ${path} to carry the settings of a reelspace run, got none. Name a file that reelspace wrote, and no GIF, which has no room for them.`,
  );
}

/** Returns the words in ffmpeg's metadata format: `key=value` lines, a backslash before `=`, `;`, `#`, `\` and line ends inside them. */
export function formatFfmetadata(entries: readonly [key: string, text: string][]): string {
  const lines = entries.map(([key, text]) => `${key}=${text.replace(/[=;#\\\r\n]/g, '\\$&')}`);
  return [';FFMETADATA1', ...lines, ''].join('\n');
}

function parseFfmetadata(text: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const line of cut(text, '\n')) {
    if (line.startsWith('[')) break; // chapters and streams follow
    if (/^[;#]/.test(line)) continue;
    const [key = '', ...rest] = cut(line, '=');
    if (rest.length > 0) found.set(unescaped(key).toLowerCase(), unescaped(rest.join('=')));
  }
  return found;
}

/** Returns what lies between the separators that no backslash stands before. */
function cut(text: string, separator: string): string[] {
  const parts: string[] = [];
  let start = 0;
  for (let at = 0; at < text.length; at++) {
    if (text[at] === '\\') at++;
    else if (text[at] === separator) {
      parts.push(text.slice(start, at));
      start = at + 1;
    }
  }
  return [...parts, text.slice(start)];
}

function unescaped(text: string): string {
  return text.replace(/\\([\s\S])/g, '$1');
}

/** Returns an XMP packet (ISO 16684-1) that holds the words as Dublin Core title and description. */
export function xmpPacket(metadata: OutputMetadata | undefined): string | undefined {
  const entries = metadataEntries(metadata);
  if (entries.length === 0) return undefined;
  const properties = entries.map(([key, text]) => {
    const name = xmpNames[key];
    return `<${name}><rdf:Alt><rdf:li xml:lang="x-default">${escapeXml(text)}</rdf:li></rdf:Alt></${name}>`;
  });
  return [
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">',
    '<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/">',
    ...properties,
    '</rdf:Description></rdf:RDF></x:xmpmeta>',
  ].join('');
}

const xmpNames = { title: 'dc:title', comment: 'dc:description' } as const;

async function readImageMetadata(path: string): Promise<Map<string, string>> {
  const bytes = await readFile(path);
  const { default: sharp } = await import('sharp');
  const { xmpAsString = '' } = await sharp(bytes)
    .metadata()
    .catch((cause: unknown) => {
      throw new MediaError(`Expected ${path} to be an image, got one that can't be decoded. Save it again as PNG.`, {
        cause,
      });
    });
  const found = new Map<string, string>();
  for (const key of keys) {
    const text = new RegExp(`<${xmpNames[key]}><rdf:Alt><rdf:li[^>]*>([^<]*)</rdf:li>`).exec(xmpAsString)?.[1];
    if (text !== undefined) found.set(key, unescapeXml(text));
  }
  return found;
}

/** Numeric references, so that XML's own treatment of line ends and control characters can't change the text. */
function escapeXml(text: string): string {
  return text.replace(/[&<>"\r\n\t]/g, (character) => `&#${character.charCodeAt(0)};`);
}

function unescapeXml(text: string): string {
  return text.replace(/&#(\d+);/g, (_, code: string) => String.fromCharCode(Number(code)));
}
