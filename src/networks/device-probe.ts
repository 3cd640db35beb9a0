// A process that tries one device and tells how it went: a driver that crashes or hangs takes nothing else with it.
import type { Device } from './model.js';
import { ortMessage, timeProbe } from './ort-session.js';

/** What a probe is asked. */
export interface ProbeRequest {
  readonly device: Device;
}

/** What a probe found: milliseconds for the same network on the device and on the CPU, or what went wrong. */
export type ProbeAnswer = { readonly deviceMs: number; readonly cpuMs: number } | { readonly complaint: string };

/** Six products of matrices of these sizes: 25 MFLOP, and 1.6 GFLOP, which two CPU cores do in about 20 ms. */
const sizes = { small: 128, large: 512 } as const;
/** No GPU is this slow on the small ones; a software driver (70 to 300 ms here) takes seconds for the large ones. */
const tooSlowMs = 50;

async function probe({ device }: ProbeRequest): Promise<ProbeAnswer> {
  try {
    const smallMs = await timeProbe(device, sizes.small);
    if (smallMs > tooSlowMs) return { deviceMs: smallMs, cpuMs: await timeProbe('cpu', sizes.small) };
    return { deviceMs: await timeProbe(device, sizes.large), cpuMs: await timeProbe('cpu', sizes.large) };
  } catch (error) {
    return { complaint: ortMessage(error) };
  }
}

process.once('message', async (request: ProbeRequest) => {
  const answer = await probe(request);
  process.send?.(answer, () => process.disconnect());
});
