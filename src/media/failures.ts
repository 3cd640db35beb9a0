// What an ffmpeg failure means to the user, read from what it printed.
import { FfmpegError, MediaError, OutputError, type ReelspaceError } from '../errors.js';
import { sizeLimit } from './frame.js';

const readable = 'Give a video (MP4, MOV, MKV, WebM, AVI, GIF, ...) or an image (PNG, JPEG, WebP, TIFF, AVIF, BMP).';

/** Returns the error to throw when reading `path` failed. */
export function readFailure(path: string, error: FfmpegError): ReelspaceError {
  const { stderrTail } = error;
  const details = { cause: error };
  if (/not on whitelist/i.test(stderrTail)) {
    return new MediaError(
      `Expected ${path} to be a media file, got a playlist or another kind that isn't read. ${readable}`,
      details,
    );
  }
  const size = /Picture size (\d+x\d+) (?:is invalid|exceeds)/.exec(stderrTail)?.[1];
  if (size !== undefined) return tooLarge(path, size);
  if (/matches no streams/.test(stderrTail)) {
    return new MediaError(`Expected ${path} to hold pictures, got none. ${readable}`, details);
  }
  if (/moov atom not found/.test(stderrTail) && !/low score/.test(stderrTail)) {
    return new MediaError(
      `Expected ${path} to be whole, got an MP4 cut off before its index. Copy or download it again.`,
      details,
    );
  }
  if (/Unknown decoder|Decoder .* not found|no decoder/i.test(stderrTail)) {
    return new MediaError(
      `Expected ${path} to be in a format this ffmpeg decodes, got one it can't. Convert it, or install a newer ffmpeg.`,
      details,
    );
  }
  if (
    /Invalid data found|Invalid argument|End of file|partial file|Conversion failed|could not find codec parameters|Error while decoding|Error opening input/i.test(
      stderrTail,
    )
  ) {
    return new MediaError(
      `Expected ${path} to be a media file, got something else or a damaged one. ${readable}`,
      details,
    );
  }
  return error;
}

/** Returns the error for a picture beyond the limits. */
export function tooLarge(path: string, size: string): MediaError {
  return new MediaError(`Expected ${path} to be ${sizeLimit}, got ${size}. Scale it down first.`);
}

/** Returns the error to throw when writing `path` failed. */
export function writeFailure(path: string, error: unknown): unknown {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  const text = error instanceof Error ? error.message + (error instanceof FfmpegError ? error.stderrTail : '') : '';
  const details = { cause: error };
  if (/ENOSPC|EDQUOT|EFBIG/.test(String(code)) || /No space left|quota exceeded|File too large|SIGXFSZ/i.test(text)) {
    return new OutputError(
      `Expected room on the disk for ${path}, got none left. Free some space, or write elsewhere.`,
      details,
    );
  }
  if (/ENOENT|ENOTDIR/.test(String(code)) || /No such file or directory/.test(text)) {
    return new OutputError(`Expected the folder of ${path} to exist, got no such folder. Create it first.`, details);
  }
  if (/EACCES|EPERM|EROFS/.test(String(code)) || /Permission denied|Read-only file system/.test(text)) {
    return new OutputError(`Expected ${path} to be writable, got no permission. Write elsewhere.`, details);
  }
  if (/EISDIR|EEXIST|ENOTEMPTY/.test(String(code))) {
    return new OutputError(`Expected ${path} to be a file, got a folder. Choose another name.`, details);
  }
  const encoder = /Unknown encoder '([\w-]+)'/.exec(text)?.[1];
  if (encoder !== undefined) {
    return new FfmpegError(
      `Expected an ffmpeg with ${encoder}, got one built without it. Install a full build, or set FFMPEG_PATH to one.`,
      details,
    );
  }
  return error;
}
