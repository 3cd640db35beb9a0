// A WebGPU device for tests: the machine's own, or a software Vulkan driver.
import { access } from 'node:fs/promises';
import { openSession } from '../../src/networks/open-session.js';
import { fixture } from './fixtures.js';

/** SwiftShader as Debian's chromium package brings it. Mesa's lavapipe is found by itself where it is new enough. */
const swiftShader = '/usr/lib/chromium/vk_swiftshader_icd.json';

/**
 * Returns false when WebGPU works in this process, which the first WebGPU session decides for good, or else the reason
 * to skip. Reads and sets VK_ICD_FILENAMES.
 */
export async function webGpuSkipReason(): Promise<string | false> {
  if (process.env.VK_ICD_FILENAMES === undefined && (await isFile(swiftShader))) {
    process.env.VK_ICD_FILENAMES = swiftShader;
  }
  try {
    const session = await openSession(fixture('sine.onnx'), { device: 'webgpu' });
    await session.release();
    return false;
  } catch (error) {
    return `WebGPU needs a GPU or ${swiftShader} (Debian package chromium): ${(error as Error).message}`;
  }
}

async function isFile(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch {
    return false;
  }
}
