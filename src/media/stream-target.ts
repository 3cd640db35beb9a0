// Frames into MP4, WebM or GIF through ffmpeg.
import { stat, writeFile } from 'node:fs/promises';
import { expected, FfmpegError, InvalidOptionError, throwIfCancelled } from '../errors.js';
import { type FfmpegInput, type FfmpegRun, runFfmpeg, startFfmpeg } from './command.js';
import { findFfmpeg } from './ffmpeg.js';
import type { Frame } from './frame.js';
import { formatFfmetadata, metadataEntries, type OutputMetadata } from './metadata.js';
import type { OutputTarget, VideoWriterOptions } from './output-target.js';
import { probeAudioCodec } from './probe.js';
import { dropTemporary, keepTemporary, reserveTemporary } from './temporary-file.js';

/** The containers that ffmpeg writes for us. */
export type StreamFormat = 'mp4' | 'webm' | 'gif';

interface Recipe {
  /** Arguments that encode the pictures. */
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

/** Sound to bring along: arguments of its input and of its stream. */
interface AudioPlan {
  source: string;
  inputOptions: string[];
  outputOptions: string[];
}

/** Starts ffmpeg and returns where its frames go. Throws InvalidOptionError, FfmpegNotFoundError, MediaError for `audioFrom`. */
export async function createStreamTarget(
  path: string,
  format: StreamFormat,
  options: VideoWriterOptions,
): Promise<OutputTarget> {
  const { width, height, frameRate, crf, signal } = options;
  if (format === 'mp4' && (width % 2 !== 0 || height % 2 !== 0)) {
    throw new InvalidOptionError(
      expected('width and height', 'even for .mp4', `${width}x${height}`, 'Change the size, or write .webm or .gif.'),
    );
  }
  if (crf !== undefined && !(Number.isFinite(crf) && crf >= 0 && crf <= 51)) {
    throw new InvalidOptionError(expected('crf', 'between 0 and 51', crf));
  }
  const recipe = recipes[format];
  const audio = await planAudio(recipe, options);
  const pictures = reserveTemporary(path);
  const words = await prepareWords(path, options.metadata);
  const lastPass = [...recipe.container, '-f', format];
  const size = `${width}x${height}`;
  const raw = ['-f', 'rawvideo', '-pix_fmt', 'rgb24', '-s', size, '-r', String(frameRate)];
  try {
    const run = await startFfmpeg({
      inputs: [{ source: 'pipe:0', options: raw }, ...(audio === undefined ? words.inputs : [])],
      options: [...recipe.video(crf), ...(audio === undefined ? [...words.options(1), ...lastPass] : ['-f', format])],
      output: pictures,
      signal,
    });
    const finishing = audio === undefined ? undefined : { audio, lastPass, frameRate };
    return new StreamTarget(path, run, pictures, words, finishing, signal);
  } catch (error) {
    await words.drop();
    throw error;
  }
}

/** Words that an output is to carry. */
interface Words {
  readonly inputs: readonly FfmpegInput[];
  /** Returns the arguments for these words and no others, where `inputs` begin at that number. */
  options(input: number): string[];
  drop(): Promise<void>;
}

/**
 * Windows has room for 32,767 UTF-16 units in all arguments of a program, where quotes and backslashes take two; other systems for
 * 131,072 bytes and more in each.
 */
const longestArguments = process.platform === 'win32' ? 24_000 : 120_000;

function lengthAsArgument(text: string): number {
  return process.platform === 'win32' ? text.replace(/["\\]/g, '$&$&').length : Buffer.byteLength(text);
}

/** Words that are too long for arguments go into a file. Throws FfmpegError where ffmpeg would cut its lines. */
async function prepareWords(path: string, metadata: OutputMetadata | undefined): Promise<Words> {
  const entries = metadataEntries(metadata);
  const sum = entries.reduce((length, [, text]) => length + lengthAsArgument(text), 0);
  if (sum <= longestArguments) {
    const words = entries.flatMap(([key, text]) => ['-metadata', `${key}=${text}`]);
    return { inputs: [], options: () => ['-map_metadata', '-1', ...words], drop: async () => {} };
  }
  if ((await findFfmpeg()).warning !== undefined) {
    // It reads 1024 bytes of a line.
    throw new FfmpegError(
      `Expected settings of at most ${longestArguments} bytes with an ffmpeg of 2018, got ${sum}. Install a newer ffmpeg.`,
    );
  }
  const source = reserveTemporary(path);
  await writeFile(source, formatFfmetadata(entries));
  return {
    inputs: [{ source, holds: 'metadata' }],
    options: (input) => ['-map_metadata', String(input)],
    drop: () => dropTemporary(source),
  };
}

/** The second pass. */
interface Finishing {
  audio: AudioPlan;
  lastPass: string[];
  frameRate: number;
}

class StreamTarget implements OutputTarget {
  readonly #path: string;
  readonly #run: FfmpegRun;
  readonly #pictures: string;
  readonly #words: Words;
  readonly #finishing: Finishing | undefined;
  readonly #signal: AbortSignal | undefined;
  #withSound: string | undefined;

  constructor(
    path: string,
    run: FfmpegRun,
    pictures: string,
    words: Words,
    finishing: Finishing | undefined,
    signal: AbortSignal | undefined,
  ) {
    this.#path = path;
    this.#run = run;
    this.#pictures = pictures;
    this.#words = words;
    this.#finishing = finishing;
    this.#signal = signal;
  }

  async write(frame: Frame): Promise<void> {
    const failure = await new Promise<Error | null | undefined>((onTaken) => {
      this.#run.stdin.write(frame.data, onTaken);
    });
    if (!failure) return;
    await this.#run.done; // a broken pipe is only the symptom: this throws the reason
    throw failure;
  }

  async complete(numFrames: number): Promise<number> {
    this.#run.stdin.end();
    await this.#run.done;
    const whole = await this.#addSound(numFrames);
    throwIfCancelled(this.#signal);
    const { size } = await stat(whole);
    await keepTemporary(whole, this.#path);
    if (whole !== this.#pictures) await dropTemporary(this.#pictures);
    await this.#words.drop();
    return size;
  }

  async discard(): Promise<void> {
    await this.#run.kill();
    await dropTemporary(this.#pictures);
    if (this.#withSound !== undefined) await dropTemporary(this.#withSound);
    await this.#words.drop();
  }

  /**
   * Puts the sound beside the pictures in a second pass that copies them: their length is known only now, and an ffmpeg
   * that read both at once would hold back the frames while it waits for sound.
   */
  async #addSound(numFrames: number): Promise<string> {
    if (this.#finishing === undefined) return this.#pictures;
    const { audio, lastPass, frameRate } = this.#finishing;
    this.#withSound = reserveTemporary(this.#path);
    await runFfmpeg({
      inputs: [
        { source: this.#pictures },
        { source: audio.source, options: audio.inputOptions },
        ...this.#words.inputs,
      ],
      options: [
        ...['-map', '0:v:0', '-map', '1:a:0', ...this.#words.options(2), '-map_chapters', '-1', '-c:v', 'copy'],
        ...[...audio.outputOptions, '-t', String(numFrames / frameRate), ...lastPass],
      ],
      output: this.#withSound,
      signal: this.#signal,
    });
    return this.#withSound;
  }
}

/** Returns how the sound comes along, or undefined when there is none to bring. */
async function planAudio(recipe: Recipe, options: VideoWriterOptions): Promise<AudioPlan | undefined> {
  const { audioFrom, audioStartSeconds = 0, signal } = options;
  if (!(Number.isFinite(audioStartSeconds) && audioStartSeconds >= 0)) {
    throw new InvalidOptionError(expected('audioStartSeconds', 'a number of at least 0', audioStartSeconds));
  }
  if (audioFrom === undefined || recipe.audio === undefined) return undefined;
  const codec = await probeAudioCodec(audioFrom, signal);
  if (codec === undefined) return undefined;
  const isCopied = recipe.audio.copied.includes(codec);
  return {
    source: audioFrom,
    inputOptions: audioStartSeconds > 0 ? ['-ss', String(audioStartSeconds)] : [],
    // Sound that ends early is padded with silence when it is encoded anyway; a copied track just ends.
    outputOptions: isCopied ? ['-c:a', 'copy'] : [...recipe.audio.encode, '-af', 'apad'],
  };
}
