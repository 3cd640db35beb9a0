// What the file system says when the cache can't be changed, told so that it can be acted on.
import { OutputError } from '../errors.js';

/** Returns what changing `place` gives. Throws OutputError where the file system fails, and whatever else the work throws. */
export async function changing<T>(place: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw outputFailure(error, place);
  }
}

/** Returns whether it was the system that failed. */
export function isFileError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && 'syscall' in error && 'code' in error;
}

function outputFailure(error: unknown, place: string): unknown {
  if (!isFileError(error)) return error;
  if (error.code === 'ENOSPC' || error.code === 'EDQUOT' || error.code === 'EFBIG') {
    return new OutputError(
      `Expected room on the disk for ${place}, got none left. Free some space and pull again; what is there is kept.`,
      { cause: error },
    );
  }
  return new OutputError(`Can't write ${place}: ${error.message}.`, { cause: error });
}
