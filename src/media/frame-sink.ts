// Cuts the bytes that ffmpeg writes into frames, and holds ffmpeg back while nobody takes them.
import { Writable } from 'node:stream';
import type { Frame } from './frame.js';

/** Whole frames that wait for the reader, at most. With the one being filled, this bounds the memory of a read. */
const waitingFrames = 2;

/** A stream to write raw RGB24 to and to take frames from. */
export class FrameSink extends Writable {
  readonly #width: number;
  readonly #height: number;
  readonly #ready: Frame[] = [];
  #filling: Uint8Array | undefined;
  #filled = 0;
  #resume: (() => void) | undefined;
  #wake: (() => void) | undefined;
  #ended = false;

  constructor(width: number, height: number) {
    // emitClose: fluent-ffmpeg takes 'close' as a reason to kill ffmpeg 20 ms later.
    super({ emitClose: false, highWaterMark: 1 << 16 });
    this.#width = width;
    this.#height = height;
  }

  /** Returns the next frame, owned by the caller, or undefined when the stream has ended. */
  async take(): Promise<Frame | undefined> {
    while (this.#ready.length === 0 && !this.#ended) {
      await new Promise<void>((wake) => {
        this.#wake = wake;
      });
    }
    const frame = this.#ready.shift();
    const resume = this.#resume;
    this.#resume = undefined;
    resume?.();
    return frame;
  }

  /** Makes take() return undefined once the finished frames are taken, whether the stream ends or not. */
  close(): void {
    this.#ended = true;
    this.#notify();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    const frameBytes = this.#width * this.#height * 3;
    let at = 0;
    while (at < chunk.length) {
      // Every byte is overwritten before the frame leaves, so zeroing it first would be wasted.
      this.#filling ??= new Uint8Array(Buffer.allocUnsafeSlow(frameBytes).buffer);
      const count = Math.min(frameBytes - this.#filled, chunk.length - at);
      this.#filling.set(chunk.subarray(at, at + count), this.#filled);
      this.#filled += count;
      at += count;
      if (this.#filled === frameBytes) {
        this.#ready.push({ width: this.#width, height: this.#height, data: this.#filling });
        this.#filling = undefined;
        this.#filled = 0;
      }
    }
    this.#notify();
    if (this.#ready.length < waitingFrames) done();
    else this.#resume = done;
  }

  override _final(done: () => void): void {
    this.close();
    done();
  }

  #notify(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }
}
