// A source on its way into the VAE: frames of the wanted size and rate, padded to a length that the VAE takes.
import { MediaError } from '../errors.js';
import type { Clip } from '../media/clip.js';
import type { Frame } from '../media/frame.js';
import { listFrameFolder, readClip } from '../media/frame-folder.js';
import { framesToPixels } from '../media/pixels.js';
import { probe } from '../media/probe.js';
import { frameStep, type Manifest } from '../networks/manifest.js';
import type { Model } from '../networks/model.js';
import type { Tensor } from '../tensor/tensor.js';
import { type Size, sourceSize } from './geometry.js';
import { type RunContext, timeEach } from './progress.js';
import type { SourcePiece } from './source-windows.js';

/** How a source is read. */
export interface SourceOptions extends Size {
  readonly frameRate: number;
  readonly startSeconds?: number | undefined;
  readonly maxFrames?: number | undefined;
  readonly tileSize?: number | undefined;
}

/** The clip that a source makes, a file or a folder of pictures, before any of it is read. */
export interface SourcePlan {
  readonly size: Size;
  readonly frameRate: number;
  /** Size of the source as displayed. */
  readonly displayed: Size;
  /** Its sound, if it has any, from where the clip starts. */
  readonly audio: Clip['audio'];
  readonly warnings: readonly string[];
}

/** Returns the size and rate of a clip made from a source: as asked, or the source's own at the model's scale. */
export async function planSource(
  manifest: Manifest,
  options: Partial<Size> & { input: string; frameRate?: number | undefined; startSeconds?: number | undefined },
  context: RunContext,
): Promise<SourcePlan> {
  const files = await listFrameFolder(options.input);
  const info = await probe(files?.[0] ?? options.input, { signal: context.signal });
  const isFile = files === undefined;
  const { peakFrameRate } = info;
  const warnings =
    !isFile || options.frameRate !== undefined || peakFrameRate === undefined
      ? []
      : [
          `${options.input} has up to ${peakFrameRate} frames a second, and the clip the mean, ${Number(info.frameRate.toFixed(2))}. ` +
            `A frame rate of ${peakFrameRate} keeps all of them.`,
        ];
  return {
    warnings,
    size: sourceSize(manifest, info, options),
    frameRate: options.frameRate ?? (isFile && !info.isStill ? info.frameRate : manifest.defaults.frameRate),
    displayed: info,
    audio: isFile && info.hasAudio ? { path: options.input, startSeconds: options.startSeconds ?? 0 } : undefined,
  };
}

/** Who is told of a source as it is read. */
export interface SourceHooks {
  /** Given each frame. */
  readonly onFrame?: ((frame: Frame) => void) | undefined;
  /** Given pixels [1, 3, n, H, W] before they are encoded; may write into them. */
  readonly onPixels?: ((pixels: Tensor) => Promise<void>) | undefined;
}

/** A source clip that is read once, as latents. */
export class Source {
  /** Length of the clip, once it has been read. */
  numFrames: number | undefined;
  private framesRead = 0;
  private readonly path: string;
  private readonly options: SourceOptions;
  private readonly hooks: SourceHooks;

  constructor(path: string, options: SourceOptions, hooks: SourceHooks = {}) {
    this.path = path;
    this.options = options;
    this.hooks = hooks;
  }

  /** Yields the source's latents. The last frame is repeated up to the next length that the VAE takes. */
  async *pieces(model: Model, context: RunContext): AsyncGenerator<SourcePiece> {
    const encoded = model.encodePosterior(this.pixels(frameStep(model.manifest), context), {
      signal: context.signal,
      priority: context.priority,
      tileSize: this.options.tileSize,
    });
    for await (const piece of timeEach(context.clock, 'encode', encoded)) {
      context.onProgress?.({ stage: 'encode', done: this.framesRead, total: undefined });
      yield piece;
    }
  }

  /** Yields the source's frames, which are counted. Throws MediaError when there is none. */
  async *frames(context: RunContext): AsyncGenerator<Frame> {
    const { width, height, frameRate, startSeconds, maxFrames } = this.options;
    const frames = readClip(this.path, {
      width,
      height,
      fit: 'cover',
      frameRate,
      startSeconds,
      maxFrames,
      signal: context.signal,
    });
    for await (const frame of frames) {
      this.hooks.onFrame?.(frame);
      this.framesRead++;
      yield frame;
    }
    if (this.framesRead === 0) {
      throw new MediaError(
        `Expected at least one frame in ${this.path}, got none. Check that it is a video or an image.`,
      );
    }
    this.numFrames = this.framesRead;
  }

  private async *pixels(step: number, context: RunContext): AsyncGenerator<Tensor> {
    let group: Frame[] = [];
    let last: Frame | undefined;
    for await (const frame of this.frames(context)) {
      last = frame;
      group.push(frame);
      if (this.framesRead === 1 || group.length === step) {
        yield await this.toPixels(group);
        group = [];
      }
    }
    if (last === undefined) return;
    if (group.length > 0) {
      while (group.length < step) group.push(last);
      yield await this.toPixels(group);
    }
  }

  private async toPixels(frames: readonly Frame[]): Promise<Tensor> {
    const pixels = framesToPixels(frames);
    await this.hooks.onPixels?.(pixels);
    return pixels;
  }
}
