// Every pipeline, in the order in which help lists them.
import type { Pipeline } from '../src/diffusion/pipeline.js';
import { decode } from './decode.js';
import { extend } from './extend.js';
import { imageToVideo } from './image-to-video.js';
import { inpaint } from './inpaint.js';
import { morph } from './morph.js';
import { reconstruct } from './reconstruct.js';
import { textToVideo } from './text-to-video.js';
import { videoToVideo } from './video-to-video.js';

export const pipelines: readonly Pipeline[] = [
  textToVideo,
  videoToVideo,
  morph,
  imageToVideo,
  inpaint,
  extend,
  reconstruct,
  decode,
];
