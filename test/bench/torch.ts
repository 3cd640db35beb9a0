// PyTorch in a Python process of its own, which runs a network when it is told to and says how long that took.
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { createTensor, type Tensor } from '../../src/tensor/tensor.js';
import type { Cost } from './result.js';

const modelsFolder = fileURLToPath(new URL('../../../models/', import.meta.url));

const replySchema = z.object({
  torch: z.string().optional(),
  seconds: z.number().optional(),
  cpuSeconds: z.number().optional(),
  error: z.string().optional(),
});
type Reply = z.infer<typeof replySchema>;

/** The networks that models/bench/serve.py knows, and models/bench/wan.py. */
export type TorchNetwork = 'vae_encoder' | 'vae_decoder' | 'denoise_step' | 'denoiser';

/** What serves them, of models/bench. */
type Server = 'serve' | 'wan';

/** A Python process that holds a bundle's weights. It answers one call at a time. */
export class TorchProcess {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;
  readonly #reader: Interface;
  readonly #folder: string;
  #stderr = '';
  /** Version of PyTorch. */
  version = '';

  private constructor(python: string, server: Server, bundle: string, threads: number, folder: string) {
    this.#folder = folder;
    this.#child = spawn(python, ['-m', `bench.${server}`, bundle, String(threads)], { cwd: modelsFolder });
    this.#child.on('error', (error) => {
      this.#stderr = error.message;
    });
    this.#child.stdin.on('error', () => {}); // when it ends early, its answer is missing, and stderr says why
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr += text;
    });
    this.#reader = createInterface({ input: this.#child.stdout });
    this.#lines = this.#reader[Symbol.asyncIterator]();
  }

  /**
   * Returns PyTorch at work in REELSPACE_PYTHON or `python3`; its files are written to `folder`. Without PyTorch returns
   * why there is none, and throws when REELSPACE_PYTHON promised it.
   */
  static async start(
    bundle: string,
    threads: number,
    folder: string,
    server: Server = 'serve',
  ): Promise<TorchProcess | string> {
    const named = process.env.REELSPACE_PYTHON;
    const python = named ?? 'python3';
    const torch = new TorchProcess(python, server, bundle, threads, folder);
    try {
      torch.version = (await torch.#answer()).torch ?? '';
      return torch;
    } catch (error) {
      await torch.close();
      const why = `${python} has no PyTorch for it (${(error as Error).message}). Set REELSPACE_PYTHON to one that has models/${server === 'wan' ? 'export/' : ''}requirements.txt.`;
      if (named !== undefined) throw new Error(why);
      return why;
    }
  }

  /** Makes a network ready to run on these inputs. */
  async prepare(network: TorchNetwork, inputs: Readonly<Record<string, Tensor>>): Promise<void> {
    const files: Record<string, { path: string; shape: readonly number[] }> = {};
    for (const [name, { data, shape }] of Object.entries(inputs)) {
      const path = this.#file(`${network}-${name}`);
      await writeFile(path, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
      files[name] = { path, shape };
    }
    await this.#call({ call: 'prepare', network, inputs: files });
  }

  /** Runs a network once and returns its output, of which the shape must be known. */
  async output(network: TorchNetwork, bfloat16: boolean, shape: readonly number[]): Promise<Tensor> {
    const output = this.#file(`${network}-output`);
    await this.#call({ call: 'run', network, bfloat16, output });
    const { buffer, byteOffset, byteLength } = await readFile(output);
    return createTensor(shape, new Float32Array(buffer.slice(byteOffset, byteOffset + byteLength)));
  }

  /** Runs a network once and returns the seconds that it took. */
  async seconds(network: TorchNetwork, bfloat16: boolean): Promise<number> {
    return (await this.cost(network, bfloat16)).wall;
  }

  /** Runs a network once and returns what it took. */
  async cost(network: TorchNetwork, bfloat16: boolean): Promise<Cost> {
    const { seconds, cpuSeconds } = await this.#call({ call: 'run', network, bfloat16 });
    if (seconds === undefined || cpuSeconds === undefined) {
      throw new Error(`PyTorch did not say how long ${network} took.`);
    }
    return { wall: seconds, cpu: cpuSeconds };
  }

  /** Ends the process. */
  async close(): Promise<void> {
    this.#child.stdin.end();
    const { pid, exitCode, signalCode } = this.#child;
    if (pid !== undefined && exitCode === null && signalCode === null) await once(this.#child, 'exit');
    this.#reader.close();
  }

  #file(name: string): string {
    return join(this.#folder, `${name}.f32`);
  }

  async #call(request: object): Promise<Reply> {
    this.#child.stdin.write(`${JSON.stringify(request)}\n`);
    return this.#answer();
  }

  async #answer(): Promise<Reply> {
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error(`Python ended: ${this.#stderr.trim().split('\n').at(-1)}`);
    const reply = replySchema.parse(JSON.parse(value));
    if (reply.error !== undefined) throw new Error(`PyTorch: ${reply.error}`);
    return reply;
  }
}
