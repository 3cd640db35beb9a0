// The contract of a loaded model: prompts, latents and pixels in and out, and nothing of onnxruntime.
import type { Tensor } from '../tensor/tensor.js';
import type { Manifest } from './manifest.js';
import type { UnknownWord } from './tokenizer.js';

/** Where networks run. */
export const devices = ['cpu', 'webgpu', 'cuda', 'tensorrt', 'directml', 'coreml'] as const;
export type Device = (typeof devices)[number];

/** The device in use and the reason why. */
export interface DeviceChoice {
  readonly device: Device;
  readonly reason: string;
}

/** Prompts as the denoiser reads them. */
export interface PromptEmbeds {
  /** [B, L, D]. */
  readonly embeds: Tensor;
  /** [B, L], 1 for a token and 0 for padding. */
  readonly mask: Tensor;
  /** [B, P], each prompt as a whole, where the denoiser takes that. */
  readonly pooled?: Tensor | undefined;
  /** Prompts that were longer than the text encoder reads, with what was cut off. */
  readonly truncated: readonly { readonly prompt: string; readonly cut: string }[];
  /** Words of the prompts that the model was not taught, each once, where its manifest tells its vocabulary. */
  readonly unknownWords?: readonly UnknownWord[];
}

/** How a call waits and ends. */
export interface CallOptions {
  signal?: AbortSignal | undefined;
  /** Higher runs first. Default 0. */
  priority?: number | undefined;
}

/** What prompts are read with. */
export interface PromptOptions extends CallOptions {
  /** [B, N, D]: what `encodeImages` gives of the picture that each prompt is read with, zeros for none; given exactly where the
   * model reads prompts so. */
  imageEmbeds?: Tensor | undefined;
}

/** What one denoiser call is given. Batch B of latents, prompt and conditions agree, or are 1 and repeated. */
export interface DenoiserCall {
  /** [B, C, t, h, w], as the scheduler scaled it. */
  readonly latents: Tensor;
  /** A number of the schedule's timesteps. */
  readonly timestep: number;
  readonly prompt: PromptEmbeds;
  /** How strongly the prompt is followed, where the model takes that as a number. */
  readonly guidance?: number | undefined;
  /** Frames a second of the clip; a model that asks for it must be given it. */
  readonly frameRate?: number | undefined;
  /** [B, t]: the pixel frame that each latent frame starts at; a model that asks for it must be given it. */
  readonly frameStarts?: Tensor | undefined;
  /** [B, N, D]: what `encodeImages` gives, where the model takes pictures that way. */
  readonly imageEmbeds?: Tensor | undefined;
  /** [B, C, t, h, w]: clean latents at the positions that the mask names, elsewhere what the manifest's `conditionFrom` says. */
  readonly conditionLatents?: Tensor | undefined;
  /** [B, M, t, h, w], channels as in the manifest. */
  readonly conditionMask?: Tensor | undefined;
  /** [B, C, t, h, w]: a clip whose pixels say what is to be made, mid-grey where nothing is. */
  readonly controlLatents?: Tensor | undefined;
  /** [B]: how much that counts. Default 1. */
  readonly controlScale?: Tensor | undefined;
  /** [B, 4, S, S]: a picture of what the clip shows, S and channels as in the manifest. */
  readonly reference?: Tensor | undefined;
  /** Pictures for the model's control nets. */
  readonly controls?: readonly ControlPictures[] | undefined;
}

/** Pictures that a control net reads off what is to be made. */
export interface ControlPictures {
  /** What they show; the model has a net for that. */
  readonly kind: string;
  /** [1, 3, t, H, W] in [-1, 1], one for each latent frame. */
  readonly pixels: Tensor;
  /** What the net's answers are multiplied by; the net is not run for 0. */
  readonly scale: number;
}

/** What the VAE says of a clip: its code, and how far the code may lie from that. */
export interface Posterior {
  /** [1, C, n, h, w], the mean. */
  readonly latents: Tensor;
  /** The standard deviation at each position; undefined for a VAE that gives none. */
  readonly deviation?: Tensor | undefined;
}

/** How frames are cut up on their way through the VAE. */
export interface VaeOptions extends CallOptions {
  /** Side of a square tile in pixels, or 'auto': whole frames unless they are too large for memory. Default 'auto'. */
  tileSize?: number | 'auto' | undefined;
}

/** The same on the way back. */
export interface DecodeOptions extends VaeOptions {
  /** Where a decoder that finishes the denoising gets its noise from. Default: the noise of seed 0. */
  noise?: { normal(shape: readonly number[]): Tensor } | undefined;
}

/** A LoRA to be merged into the weights. */
export interface LoraChoice {
  /** A .safetensors file. */
  readonly path: string;
  /** What its changes are multiplied by; may be negative. Default 1. */
  readonly scale?: number | undefined;
}

/** A LoRA that is merged into the weights. */
export interface MergedLora {
  readonly path: string;
  readonly scale: number;
  /** Weights that it changes. */
  readonly weights: number;
  /** Tensors of the file that stand for nothing in this model; there are some only where that was allowed. */
  readonly unmatchedKeys: readonly string[];
}

/**
 * Which networks stay in memory: `high` keeps all that were used, `balanced` gives up the encoders of prompts and pictures
 * once another one is used, `low` keeps those alone that are in use. What is given up is opened anew when it is needed.
 */
export const memoryUses = ['low', 'balanced', 'high'] as const;
export type MemoryUse = (typeof memoryUses)[number];

/** Whether tensors of a LoRA that stand for nothing in the model are passed over. */
export interface LoraOptions {
  /** Default false: they are an error. */
  readonly partial?: boolean | undefined;
}

/** A loaded bundle. */
export interface Model {
  readonly name: string;
  /** What settings of clips call it, as it was asked for: a bundled name, org/name on a hub, or a folder, perhaps seen from the working folder. */
  readonly reference: string;
  /** Folder of the bundle. */
  readonly path: string;
  readonly manifest: Manifest;
  /** Content of scheduler/scheduler_config.json. */
  readonly schedulerConfig: Readonly<Record<string, unknown>>;
  readonly device: DeviceChoice;
  /** The LoRAs that are merged into the weights, in order. */
  readonly loras: readonly MergedLora[];
  /**
   * Replaces the LoRAs; none gives the bundle's own weights back. Networks that change are loaded again when needed, so
   * that no run may be under way. Throws InvalidOptionError and FormatError, and leaves the LoRAs as they were then.
   */
  setLoras(loras: readonly LoraChoice[], options?: LoraOptions): Promise<void>;
  /** Returns embeddings of the prompts, padded to one length. */
  encodePrompts(prompts: readonly string[], options?: PromptOptions): Promise<PromptEmbeds>;
  /** Returns what the denoiser is given of pictures [B, 3, H, W] in [-1, 1]: [1, B·N, D], the pictures' tokens in a row. */
  encodeImages(pixels: Tensor, options?: CallOptions): Promise<Tensor>;
  /** Yields the latents [1, C, n, h, w] of a clip whose pixels [1, 3, m, H, W] come in pieces of any length. */
  encode(pixels: AsyncIterable<Tensor>, options?: VaeOptions): AsyncGenerator<Tensor>;
  /** Like `encode`, with the deviation of what the VAE is unsure of. */
  encodePosterior(pixels: AsyncIterable<Tensor>, options?: VaeOptions): AsyncGenerator<Posterior>;
  /** Yields the pixels [1, 3, m, H, W] of latents [1, C, n, h, w] that come in pieces of any length; buffers are the caller's. */
  decode(latents: AsyncIterable<Tensor>, options?: DecodeOptions): AsyncGenerator<Tensor>;
  /** Returns the prediction [B, C, t, h, w]. */
  denoise(call: DenoiserCall, options?: CallOptions): Promise<Tensor>;
  /** Frees all networks. */
  close(): Promise<void>;
}
