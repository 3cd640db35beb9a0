// What a run tells its caller while it works: how far each stage is, how long it took, and a preview.
import type { Tensor } from '../tensor/tensor.js';
import type { CallCount } from './step-cache.js';

/** The stages of a run, in the order in which they start. Stages overlap: a chunk is decoded while another is written. */
export const stages = ['prompt', 'encode', 'denoise', 'decode', 'write'] as const;
export type Stage = (typeof stages)[number];

/** A small picture of a clip that is still being made, RGB bytes, rows of width · 3. */
export interface Preview {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8Array;
}

/** One step forward. */
export interface Progress {
  readonly stage: Stage;
  /** Frames, or network calls when denoising, done so far. */
  readonly done: number;
  /** How many there will be; undefined while a source of unknown length is read. */
  readonly total: number | undefined;
  /** Returns a picture of the clip so far; only while denoising, and only for models that say how. */
  readonly preview?: (() => Preview | undefined) | undefined;
}

/** What a caller may hand to a run. */
export interface RunContext {
  /** Ends the run with CancelledError as soon as the network call under way is over. */
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  /** Given each piece of the final latents [1, C, n, h, w] before it is decoded; awaited. Not to be written to. */
  readonly onLatents?: ((latents: Tensor) => Promise<void> | void) | undefined;
  /** Where the seconds of each stage are added up. */
  readonly clock?: StageClock | undefined;
  /** Where network calls are counted. */
  readonly calls?: CallCount | undefined;
  /** Place among the jobs that wait for the same device; higher runs first. Default 0. */
  readonly priority?: number | undefined;
}

/** Seconds spent on each stage. */
export class StageClock {
  readonly seconds: Partial<Record<Stage, number>> = {};

  /** Returns what `work` resolves to, and adds the time that it took. */
  async time<T>(stage: Stage, work: () => Promise<T>): Promise<T> {
    const start = performance.now();
    try {
      return await work();
    } finally {
      this.add(stage, (performance.now() - start) / 1000);
    }
  }

  /** Like `time`, less what the stages before took meanwhile: a stage that pulls from others is waited for together with them. */
  async timePulling<T>(stage: Stage, work: () => Promise<T>): Promise<T> {
    const before = stages.slice(0, stages.indexOf(stage));
    const spent = () => before.reduce((sum, name) => sum + (this.seconds[name] ?? 0), 0);
    const start = performance.now() / 1000 - spent();
    try {
      return await work();
    } finally {
      this.add(stage, Math.max(0, performance.now() / 1000 - spent() - start));
    }
  }

  private add(stage: Stage, seconds: number): void {
    this.seconds[stage] = (this.seconds[stage] ?? 0) + seconds;
  }
}

/** Yields what `items` yields, and adds the time waited for each to the clock. */
export async function* timeEach<T>(
  clock: StageClock | undefined,
  stage: Stage,
  items: AsyncIterable<T>,
): AsyncGenerator<T> {
  const iterator = items[Symbol.asyncIterator]();
  try {
    for (;;) {
      const next = await (clock === undefined ? iterator.next() : clock.timePulling(stage, () => iterator.next()));
      if (next.done === true) return;
      yield next.value;
    }
  } finally {
    await iterator.return?.();
  }
}
