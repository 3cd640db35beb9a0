// A repository with a bundle of a few bytes: enough for a hub, and no model.
import { createHash } from 'node:crypto';
import type { Files } from './hub-server.js';

const bytes = (length: number, seed: number) =>
  Buffer.from(Uint8Array.from({ length }, (_, index) => (index * 167 + seed * 59 + (index >> 3)) & 255));

/** Returns a manifest that lists the files. */
export function manifestOf(files: Files): Buffer {
  const listed = Object.entries(files).map(([path, data]) => ({
    path,
    sizeBytes: data.length,
    sha256: createHash('sha256').update(data).digest('hex'),
  }));
  return Buffer.from(JSON.stringify({ formatVersion: 1, name: 'small', files: listed }));
}

const content: Files = {
  'transformer/model.onnx': bytes(61, 1),
  'transformer/model.onnx_data': bytes(3000, 2),
  'tokenizer/tokenizer.json': Buffer.from('{"version":"1.0"}'),
  'empty.txt': Buffer.alloc(0),
};

/** Large files, small ones and an empty one, the manifest, and one that it does not list. */
export const smallRepository: Files = {
  ...content,
  'reelspace.json': manifestOf(content),
  'weights.safetensors': bytes(100, 3),
};
