// Latents on disk: saved as they come, before they are decoded, so that a failed decode can be run again from them alone.
import { type FileHandle, open } from 'node:fs/promises';
import { z } from 'zod';
import { BundleError, expected, FormatError, OutputError } from '../errors.js';
import type { Clip, Glide } from '../media/clip.js';
import { assertPlace } from '../media/output-place.js';
import { dropTemporary, reserveTemporary } from '../media/temporary-file.js';
import type { Model } from '../networks/model.js';
import { openSafetensors, type SafetensorsFile, SafetensorsWriter } from '../tensor/safetensors.js';
import { axis, createTensor, lengthOf, slice, type Tensor } from '../tensor/tensor.js';

const tensorName = 'latents';

/** What a latents file says about itself. */
export interface LatentsInfo {
  readonly frameRate: number;
  /** Frames that count; the last latent frame may stand for more. */
  readonly numFrames: number | undefined;
  /** Frames in front of those, which are left out. Default 0. */
  readonly leadFrames?: number | undefined;
  /** Where latent frames are stills that are faded into each other. Default nowhere. */
  readonly glides?: readonly Glide[] | undefined;
  /** Settings of the run that made the latents. */
  readonly settings: Readonly<Record<string, unknown>>;
}

/** Keeps latents whose number is not known beforehand: frame by frame beside the file, which is laid out at the end. */
export class LatentsWriter {
  private readonly path: string;
  private readonly spoolPath: string;
  private readonly spool: FileHandle;
  private shape: readonly number[] | undefined;
  private frames = 0;

  private constructor(path: string, spoolPath: string, spool: FileHandle) {
    this.path = path;
    this.spoolPath = spoolPath;
    this.spool = spool;
  }

  /** Returns a writer for that file. Throws OutputError at once where it can't be written, and not after hours of work. */
  static async create(path: string): Promise<LatentsWriter> {
    await assertPlace(path);
    const spoolPath = reserveTemporary(path);
    try {
      return new LatentsWriter(path, spoolPath, await open(spoolPath, 'wx+'));
    } catch (cause) {
      throw unwritten(path, cause);
    }
  }

  /** Appends latents [1, C, n, h, w]. Throws OutputError. */
  async write(latents: Tensor): Promise<void> {
    this.shape = latents.shape;
    try {
      for (let time = 0; time < lengthOf(latents, axis.time); time++) {
        const { data } = slice(latents, axis.time, time, time + 1);
        await this.spool.appendFile(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
        this.frames++;
      }
    } catch (cause) {
      throw unwritten(this.path, cause);
    }
  }

  /** Writes the file, unless no latents came; returns whether it did. */
  async finish(clip: LatentsInfo & Pick<Clip, 'decodedFrames'>): Promise<boolean> {
    const { frameRate, numFrames, decodedFrames = numFrames, leadFrames, glides, settings } = clip;
    const { spool, shape } = this;
    if (shape === undefined) return false;
    const writer = await SafetensorsWriter.create(
      this.path,
      { [tensorName]: shape.with(axis.time, this.frames) },
      { reelspace: JSON.stringify({ frameRate, numFrames: decodedFrames, leadFrames, glides, settings }) },
    );
    try {
      const frameShape = shape.with(axis.time, 1);
      for (let time = 0; time < this.frames; time++) {
        const frame = createTensor(frameShape);
        const bytes = new Uint8Array(frame.data.buffer);
        const { bytesRead } = await spool.read(bytes, 0, bytes.length, time * bytes.length);
        if (bytesRead !== bytes.length) throw unwritten(this.path, new Error(`${this.spoolPath} was cut short`));
        await writer.write(tensorName, frame, time);
      }
      await writer.finish();
    } catch (error) {
      await writer.abort();
      throw error;
    } finally {
      await this.close();
    }
    return true;
  }

  /** Removes what was kept. May be called twice. */
  async close(): Promise<void> {
    await this.spool.close();
    await dropTemporary(this.spoolPath);
  }
}

function unwritten(path: string, cause: unknown): OutputError {
  return new OutputError(`Expected latents to be written to ${path}, but: ${String(cause)}.`, { cause });
}

const infoSchema = z.object({
  frameRate: z.number().positive().max(1000),
  numFrames: z.int().min(1).optional(),
  leadFrames: z.int().min(0).optional(),
  glides: z.array(z.object({ start: z.int().min(0), end: z.int().min(1) })).optional(),
  settings: z.record(z.string(), z.unknown()),
});

/** Returns the latents [1, C, t, h, w] of a file that reelspace wrote, and what it says about them.
 * Throws FormatError when they are not such a file's, BundleError when they are another model's. */
export async function readLatents(path: string, model: Model): Promise<{ latents: Tensor; info: LatentsInfo }> {
  const file = await openLatents(path);
  try {
    const info = parseInfo(path, file.metadata.reelspace);
    const latents = await file.read(tensorName);
    const { channels } = model.manifest.latent;
    const isClip = latents.shape.length === 5 && latents.shape[0] === 1 && latents.data.length > 0;
    if (!isClip || lengthOf(latents, axis.channels) !== channels) {
      throw new BundleError(
        expected(
          `latents in ${path}`,
          `[1, ${channels}, t, h, w] for model ${model.name}`,
          `[${latents.shape.join(', ')}]`,
          'Decode them with the model that made them.',
        ),
      );
    }
    return { latents, info };
  } finally {
    await file.close();
  }
}

/** Returns the settings of the run that made the latents of a file. Throws FormatError when reelspace did not write it. */
export async function readLatentsSettings(path: string): Promise<Readonly<Record<string, unknown>>> {
  const file = await openLatents(path);
  await file.close();
  return parseInfo(path, file.metadata.reelspace).settings;
}

async function openLatents(path: string): Promise<SafetensorsFile> {
  try {
    return await openSafetensors(path);
  } catch (cause) {
    // Where a file of another kind breaks the format says nothing to who has taken it for latents.
    throw cause instanceof FormatError ? noLatents(path, 'another file', cause) : cause;
  }
}

function noLatents(path: string, got: string, cause: unknown): FormatError {
  return new FormatError(expected(path, 'latents that reelspace saved', got), { cause });
}

function parseInfo(path: string, text: string | undefined): LatentsInfo {
  try {
    return infoSchema.parse(JSON.parse(text ?? '')) as LatentsInfo;
  } catch (cause) {
    throw noLatents(path, 'another safetensors file', cause);
  }
}
