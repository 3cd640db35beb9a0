// Which reader a file needs, told from its first bytes and never from its name.
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { MediaError } from '../errors.js';

/**
 * `still` and `animated-webp` are read by sharp (Debian's ffmpeg can't decode animated WebP), `stream` by ffmpeg: videos,
 * GIF, animated PNG, BMP.
 */
export type MediaKind = 'still' | 'animated-webp' | 'stream';

const headerBytes = 4096;

/** Returns the kind of a file. Throws MediaError when it is missing, not a regular file, empty or unreadable. */
export async function detectMediaKind(path: string): Promise<MediaKind> {
  const { header, sizeBytes } = await readHeader(path);
  const ascii = (start: number, end: number) => header.toString('latin1', start, end);
  if (ascii(0, 8) === '\x89PNG\r\n\x1a\n') return header.includes('acTL') ? 'stream' : 'still';
  if (ascii(0, 3) === '\xff\xd8\xff') return 'still';
  if (ascii(0, 4) === 'II*\0' || ascii(0, 4) === 'MM\0*') return 'still';
  if (ascii(0, 4) === 'RIFF' && ascii(8, 12) === 'WEBP') {
    // The VP8X chunk comes first and its second flag bit says that frames follow (WebP container specification).
    const animated = ascii(12, 16) === 'VP8X' && ((header[20] ?? 0) & 0b10) !== 0;
    return animated ? 'animated-webp' : 'still';
  }
  if (ascii(0, 4) === 'RIFF' && ascii(8, 12) === 'AVI ' && header.readUInt32LE(4) + 8 > sizeBytes) {
    // ffmpeg would read what is there without a word.
    throw new MediaError(`Expected ${path} to be whole, got an AVI that breaks off. Copy or download it again.`);
  }
  if (ascii(4, 8) === 'ftyp' && ['avif', 'mif1', 'heic', 'heix'].includes(ascii(8, 12))) return 'still';
  return 'stream';
}

async function readHeader(path: string): Promise<{ header: Buffer; sizeBytes: number }> {
  let file: FileHandle | undefined;
  try {
    // A pipe that nobody writes to would hold up whoever opens it, for ever.
    file = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    const stat = await file.stat();
    if (!stat.isFile())
      throw new MediaError(`Expected ${path} to be a file, got a folder or device. Name one media file.`);
    if (stat.size === 0) throw new MediaError(`Expected ${path} to be a media file, got an empty file.`);
    const header = Buffer.alloc(headerBytes);
    const { bytesRead } = await file.read(header, 0, headerBytes, 0);
    return { header: header.subarray(0, bytesRead), sizeBytes: stat.size };
  } catch (error) {
    if (error instanceof MediaError) throw error;
    throw new MediaError(`Expected ${path} to be a readable file, got ${reasonOf(error)}. Check the name.`, {
      cause: error,
    });
  } finally {
    await file?.close();
  }
}

function reasonOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (code === 'ENOENT' || code === 'ENOTDIR') return 'no such file';
  if (code === 'EACCES' || code === 'EPERM') return 'no permission to read it';
  return error instanceof Error ? error.message : String(error);
}
