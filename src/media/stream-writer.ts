// Frames into MP4, WebM or GIF through ffmpeg.
import { stat } from 'node:fs/promises';
import { CancelledError, expected, InvalidOptionError, throwIfCancelled } from '../errors.js';
import { type FfmpegRun, runFfmpeg, startFfmpeg } from './command.js';
import { writeFailure } from './failures.js';
import type { Frame } from './frame.js';
import { metadataEntries } from './metadata.js';
import { checkFrame } from './pixels.js';
import { probe } from './probe.js';
import { dropTemporary, keepTemporary, reserveTemporary } from './temporary-file.js';
import type { VideoWriter, VideoWriterOptions, WrittenVideo } from './write-frames.js';

/** The containers that ffmpeg writes for us. */
export type StreamFormat = 'mp4' | 'webm' | 'gif';

interface Recipe {
  /** Encoder arguments, the picture filter first. */
  video(crf: number | undefined): string[];
  /** Arguments of the last pass into the container. */
  container: string[];
  /** Sound codecs that the container takes as they are, and the arguments that make another one fit. */
  audio: { copied: readonly string[]; encode: string[] } | undefined;
}

// Untagged RGB would be converted with BT.601 and shown with BT.709: washed out. setparams tags the frames (newer ffmpeg
// takes tags from there), the options tag the container, x264-params the H.264 stream itself.
const toBt709 =
  'scale=out_color_matrix=bt709:out_range=tv:flags=lanczos+accurate_rnd+full_chroma_int+full_chroma_inp,format=yuv420p,' +
  'setparams=range=tv:color_primaries=bt709:color_trc=bt709:colorspace=bt709';
const bt709Tags = ['-colorspace', 'bt709', '-color_primaries', 'bt709', '-color_trc', 'bt709', '-color_range', 'tv'];

const recipes: Readonly<Record<StreamFormat, Recipe>> = {
  mp4: {
    video: (crf = 16) => [
      ...['-vf', toBt709, '-c:v', 'libx264', '-preset', 'medium', '-crf', String(crf)],
      ...[...bt709Tags, '-x264-params', 'colorprim=bt709:transfer=bt709:colormatrix=bt709:range=tv'],
    ],
    container: ['-movflags', '+faststart'],
    audio: { copied: ['aac', 'mp3', 'ac3', 'alac'], encode: ['-c:a', 'aac', '-b:a', '192k'] },
  },
  webm: {
    video: (crf = 24) => [
      ...['-vf', toBt709, '-c:v', 'libvpx-vp9', '-crf', String(crf), '-b:v', '0', '-row-mt', '1', '-cpu-used', '3'],
      ...bt709Tags,
    ],
    container: [],
    audio: { copied: ['opus', 'vorbis'], encode: ['-c:a', 'libopus', '-b:a', '128k'] },
  },
  gif: {
    // A palette for each frame: better than one for all, and nothing has to wait for the last frame.
    video: () => [
      '-filter_complex',
      '[0:v]split[a][b];[a]palettegen=stats_mode=single[palette];[b][palette]paletteuse=new=1:dither=sierra2_4a',
    ],
    container: [],
    audio: undefined,
  },
};

/** Returns a writer of one MP4, WebM or GIF. Throws InvalidOptionError, FfmpegNotFoundError, MediaError for `audioFrom`. */
export async function createStreamWriter(
  path: string,
  format: StreamFormat,
  options: VideoWriterOptions,
): Promise<VideoWriter> {
  const { width, height, frameRate, crf, signal } = options;
  if (format === 'mp4' && (width % 2 !== 0 || height % 2 !== 0)) {
    throw new InvalidOptionError(
      expected('width and height', 'even for .mp4', `${width}x${height}`, 'Change the size, or write .webm or .gif.'),
    );
  }
  const recipe = recipes[format];
  const audio = await planAudio(recipe, options);
  const metadata = metadataEntries(options.metadata).flatMap(([key, text]) => ['-metadata', `${key}=${text}`]);
  const pictures = reserveTemporary(path);
  const finalOptions = [...recipe.container, ...metadata];
  const run = await startFfmpeg({
    inputs: [
      {
        source: 'pipe:0',
        options: ['-f', 'rawvideo', '-pix_fmt', 'rgb24', '-s', `${width}x${height}`, '-r', String(frameRate)],
      },
    ],
    options: [...recipe.video(crf), ...(audio === undefined ? finalOptions : []), '-f', format],
    output: pictures,
    signal,
  });
  return new StreamWriter(path, format, options, run, pictures, audio, finalOptions);
}

class StreamWriter implements VideoWriter {
  readonly #path: string;
  readonly #format: StreamFormat;
  readonly #options: VideoWriterOptions;
  readonly #run: FfmpegRun;
  readonly #pictures: string;
  readonly #audio: string[] | undefined;
  readonly #finalOptions: string[];
  #numFrames = 0;
  #state: 'open' | 'finishing' | 'finished' | 'aborted' = 'open';

  constructor(
    path: string,
    format: StreamFormat,
    options: VideoWriterOptions,
    run: FfmpegRun,
    pictures: string,
    audio: string[] | undefined,
    finalOptions: string[],
  ) {
    this.#path = path;
    this.#format = format;
    this.#options = options;
    this.#run = run;
    this.#pictures = pictures;
    this.#audio = audio;
    this.#finalOptions = finalOptions;
    // Cancelling must clear up even when nobody touches the writer again.
    run.done.catch(() => this.abort());
  }

  async write(frame: Frame): Promise<void> {
    throwIfCancelled(this.#options.signal);
    if (this.#state !== 'open') throw new InvalidOptionError(expected('writer', 'open', this.#state));
    checkFrame(frame, this.#options.width, this.#options.height);
    this.#numFrames++;
    const failure = await new Promise<Error | null | undefined>((resolveWrite) => {
      this.#run.stdin.write(frame.data, resolveWrite);
    });
    if (failure) await this.#fail(failure);
  }

  async finish(): Promise<WrittenVideo> {
    throwIfCancelled(this.#options.signal);
    if (this.#state !== 'open') throw new InvalidOptionError(expected('writer', 'open', this.#state));
    if (this.#numFrames === 0) {
      await this.abort();
      throw new InvalidOptionError(expected('number of frames', 'at least 1', 0));
    }
    this.#state = 'finishing';
    try {
      this.#run.stdin.end();
      await this.#run.done;
      const whole = this.#audio === undefined ? this.#pictures : await this.#addAudio(this.#audio);
      throwIfCancelled(this.#options.signal);
      const { size } = await stat(whole);
      await keepTemporary(whole, this.#path);
      if (whole !== this.#pictures) await dropTemporary(this.#pictures);
      this.#state = 'finished';
      return { path: this.#path, sizeBytes: size, numFrames: this.#numFrames };
    } catch (error) {
      return this.#fail(error);
    }
  }

  async abort(): Promise<void> {
    if (this.#state === 'finished' || this.#state === 'aborted') return;
    this.#state = 'aborted';
    await this.#run.kill();
    await dropTemporary(this.#pictures);
  }

  /** Copies the pictures beside the sound, now that their length is known. */
  async #addAudio(audio: string[]): Promise<string> {
    const whole = reserveTemporary(this.#path);
    const { audioFrom = '', audioStartSeconds = 0, frameRate, signal } = this.#options;
    try {
      await runFfmpeg({
        inputs: [
          { source: this.#pictures },
          { source: audioFrom, options: audioStartSeconds > 0 ? ['-ss', String(audioStartSeconds)] : [] },
        ],
        options: [
          ...['-map', '0:v:0', '-map', '1:a:0', '-map_metadata', '-1', '-c:v', 'copy', ...audio],
          ...['-t', String(this.#numFrames / frameRate), ...this.#finalOptions, '-f', this.#format],
        ],
        output: whole,
        signal,
      });
      return whole;
    } catch (error) {
      await dropTemporary(whole);
      throw error;
    }
  }

  async #fail(error: unknown): Promise<never> {
    // A broken pipe is only the symptom; how ffmpeg ended is the reason.
    const reason = await this.#run.done.then(
      () => error,
      (ended: unknown) => ended,
    );
    await this.abort();
    throw reason instanceof CancelledError ? reason : writeFailure(this.#path, reason);
  }
}

/** Returns the arguments that bring the sound along, or undefined when there is none to bring. */
async function planAudio(recipe: Recipe, options: VideoWriterOptions): Promise<string[] | undefined> {
  const { audioFrom, audioStartSeconds = 0, signal } = options;
  if (!(Number.isFinite(audioStartSeconds) && audioStartSeconds >= 0)) {
    throw new InvalidOptionError(expected('audioStartSeconds', 'a number of at least 0', audioStartSeconds));
  }
  if (audioFrom === undefined || recipe.audio === undefined) return undefined;
  const { audioCodec } = await probe(audioFrom, { signal });
  if (audioCodec === undefined) return undefined;
  if (recipe.audio.copied.includes(audioCodec)) return ['-c:a', 'copy'];
  return [...recipe.audio.encode, '-af', 'apad'];
}
