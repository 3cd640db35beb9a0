// Opens the arrays that models/goldens/*.py wrote with the reference implementation.
import { fileURLToPath } from 'node:url';
import { openSafetensors, type SafetensorsFile } from '../../src/tensor/safetensors.js';
import type { Tensor } from '../../src/tensor/tensor.js';

const folder = new URL('../../../test/goldens/', import.meta.url);

/** Returns the path of a file in test/goldens. */
export function goldenPath(fileName: string): string {
  return fileURLToPath(new URL(fileName, folder));
}

/** Returns every tensor of a golden file by name, and its metadata. */
export async function readGoldens(
  fileName: string,
): Promise<{ tensors: Map<string, Tensor>; metadata: SafetensorsFile['metadata'] }> {
  const file = await openSafetensors(goldenPath(fileName));
  const tensors = new Map<string, Tensor>();
  for (const name of file.entries.keys()) tensors.set(name, await file.read(name));
  await file.close();
  return { tensors, metadata: file.metadata };
}
