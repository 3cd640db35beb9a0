// Makes a model of a bundle: everything the pipelines ask of it, each network opened when it is first needed.

import { NetworkError } from '../errors.js';
import type { Tensor } from '../tensor/tensor.js';
import { type Bundle, readBundle, readBundleJson, readBundleText } from './bundle.js';
import { controlNetName, type GraphName, tokenizerFile, tokenizerFolders } from './bundle-layout.js';
import { addUpControls } from './control-net.js';
import { predict } from './denoiser.js';
import { deviceFor, resolveDevice } from './device.js';
import { EmbedsCache } from './embeds-cache.js';
import { embedImages } from './image-encoder.js';
import { type LoraPlan, planLoras } from './lora.js';
import { isSecondDenoisers, type Manifest } from './manifest.js';
import type {
  CallOptions,
  DecodeOptions,
  DenoiserCall,
  Device,
  DeviceChoice,
  LoraChoice,
  LoraOptions,
  MemoryUse,
  MergedLora,
  Model,
  Posterior,
  PromptEmbeds,
  PromptOptions,
  VaeOptions,
} from './model.js';
import { NetworkPool } from './network-pool.js';
import { openGraph } from './open-graph.js';
import { parsePrompt } from './prompt-weights.js';
import type { NetworkSession } from './session.js';
import { embedPrompts, poolPrompts } from './text-encoder.js';
import { PromptTokenizer } from './tokenizer.js';
import { readTokenizerFiles } from './tokenizer-files.js';
import { decodeLatents } from './vae-decoder.js';
import { encodePixels } from './vae-encoder.js';

/** Where and how a model runs. */
export interface LoadOptions {
  /** Default 'auto'. */
  readonly device?: 'auto' | Device | undefined;
  /** CPU threads for one network. Default: one for each physical core. */
  readonly threads?: number | undefined;
  /** Default 'high'. */
  readonly memory?: MemoryUse | undefined;
  /** LoRAs to merge into the weights. */
  readonly loras?: readonly LoraChoice[] | undefined;
  /** What settings of clips call the model, for whoever loads it again. Default: what it is loaded by. */
  readonly reference?: string | undefined;
  /** Whether tensors of a LoRA that stand for nothing in the model are passed over. Default false: they are an error. */
  readonly loraPartial?: boolean | undefined;
}

/**
 * Returns the model of that name among the bundled ones, or in that folder when the text has a slash or starts with a
 * dot. Networks are opened when first needed and kept as `memory` says; a graph that doesn't fit the manifest shows then.
 * Throws BundleError and DeviceError, and for LoRAs what `setLoras` throws.
 */
export async function loadModel(
  nameOrPath: string,
  { device = 'auto', threads, memory = 'high', loras = [], loraPartial, reference = nameOrPath }: LoadOptions = {},
): Promise<Model> {
  const [bundle, choice] = await Promise.all([readBundle(nameOrPath), resolveDevice(device)]);
  const plan = await planLoras(bundle, loras, { partial: loraPartial });
  return new BundleModel(bundle, reference, deviceFor(bundle.manifest, device, choice), threads, memory, plan);
}

/** A graph that reads prompts. */
type TextGraph = keyof typeof tokenizerFolders;

class BundleModel implements Model {
  readonly name: string;
  readonly reference: string;
  readonly path: string;
  readonly manifest: Manifest;
  readonly schedulerConfig: Readonly<Record<string, unknown>>;
  readonly device: DeviceChoice;
  readonly #bundle: Bundle;
  readonly #threads: number | undefined;
  #plan: LoraPlan;
  readonly #networks: NetworkPool;
  #embeds = new EmbedsCache();
  readonly #tokenizers: { [graph in TextGraph]?: Promise<PromptTokenizer> } = {};
  #isClosed = false;

  constructor(
    bundle: Bundle,
    reference: string,
    device: DeviceChoice,
    threads: number | undefined,
    memory: MemoryUse,
    plan: LoraPlan,
  ) {
    this.name = bundle.manifest.name;
    this.reference = reference;
    this.path = bundle.path;
    this.manifest = bundle.manifest;
    this.schedulerConfig = bundle.schedulerConfig;
    this.device = device;
    this.#bundle = bundle;
    this.#threads = threads;
    this.#plan = plan;
    this.#networks = new NetworkPool((graph) => this.#open(graph), memory);
  }

  get loras(): readonly MergedLora[] {
    return this.#plan.loras;
  }

  async setLoras(loras: readonly LoraChoice[], options: LoraOptions = {}): Promise<void> {
    const plan = await planLoras(this.#bundle, loras, options);
    const changed = new Set([...this.#plan.graphs, ...plan.graphs]);
    this.#plan = plan;
    // A LoRA may change the text encoder.
    this.#embeds = new EmbedsCache();
    await this.#networks.release(changed);
  }

  async encodePrompts(prompts: readonly string[], options: PromptOptions = {}): Promise<PromptEmbeds> {
    this.#assertOpen();
    const kept = this.#embeds;
    const known = kept.get(prompts, options.imageEmbeds);
    if (known !== undefined) return known;
    // Brackets that make no sense are told before a network is opened for nothing.
    for (const prompt of prompts) parsePrompt(prompt);
    const { textEncoder, textEncoder2 } = this.manifest.graphs;
    const ofTokens = await this.#networks.use('textEncoder', async (network) => {
      const tokenizer = await this.#openTokenizer('textEncoder');
      const embeds = await embedPrompts(network, tokenizer, textEncoder, prompts, options);
      if (this.manifest.vocabulary === undefined) return embeds;
      const unknown = prompts.flatMap((prompt) => tokenizer.unknownWords(prompt));
      return { ...embeds, unknownWords: [...new Map(unknown.map((one) => [one.word, one])).values()] };
    });
    const embeds =
      textEncoder2 === undefined
        ? ofTokens
        : {
            ...ofTokens,
            pooled: await this.#networks.use('textEncoder2', async (network) =>
              poolPrompts(network, await this.#openTokenizer('textEncoder2'), textEncoder2, prompts, options),
            ),
          };
    kept.set(prompts, embeds, options.imageEmbeds);
    return embeds;
  }

  async encodeImages(pixels: Tensor, options: CallOptions = {}): Promise<Tensor> {
    return this.#networks.use('imageEncoder', (network) => embedImages(network, pixels, options));
  }

  async *encode(pixels: AsyncIterable<Tensor>, options: VaeOptions = {}): AsyncGenerator<Tensor> {
    for await (const { latents } of this.encodePosterior(pixels, options)) yield latents;
  }

  encodePosterior(pixels: AsyncIterable<Tensor>, options: VaeOptions = {}): AsyncGenerator<Posterior> {
    return this.#networks.stream('vaeEncoder', (opener) => encodePixels(opener, this.manifest, pixels, options));
  }

  decode(latents: AsyncIterable<Tensor>, options: DecodeOptions = {}): AsyncGenerator<Tensor> {
    return this.#networks.stream('vaeDecoder', (opener) => decodeLatents(opener, this.manifest, latents, options));
  }

  async denoise(call: DenoiserCall, options: CallOptions = {}): Promise<Tensor> {
    const graph = isSecondDenoisers(this.manifest, call.timestep) ? 'denoiser2' : 'denoiser';
    const residuals = await addUpControls(
      (kind, run) => this.#networks.use(controlNetName(kind), run),
      this.manifest,
      call,
      options,
    );
    return this.#networks.use(graph, (network) => predict(network, this.manifest, { ...call, residuals }, options));
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#networks.release();
  }

  async #open(graph: GraphName): Promise<NetworkSession> {
    this.#assertOpen();
    const changes = await this.#plan.read(graph);
    return openGraph(this.#bundle, graph, { device: this.device.device, threads: this.#threads, changes });
  }

  #assertOpen(): void {
    if (this.#isClosed) throw new NetworkError(`The model ${this.name} was closed. Load it again.`);
  }

  async #openTokenizer(graph: TextGraph): Promise<PromptTokenizer> {
    this.#tokenizers[graph] ??= readTokenizer(this.#bundle, graph);
    return this.#tokenizers[graph];
  }
}

async function readTokenizer({ path, manifest }: Bundle, graph: TextGraph): Promise<PromptTokenizer> {
  const source = {
    has: (file: string) => manifest.files.some((listed) => listed.path === file),
    json: (file: string) => readBundleJson(path, file),
    text: (file: string) => readBundleText(path, file),
  };
  const folder = tokenizerFolders[graph];
  const { tokenizer, config } = await readTokenizerFiles(source, folder);
  const { maxTokens } = manifest.graphs[graph] ?? manifest.graphs.textEncoder;
  return new PromptTokenizer(tokenizer, config, maxTokens, tokenizerFile(folder));
}
