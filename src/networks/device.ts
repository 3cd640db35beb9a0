// Chooses the device that networks run on, and says why.
import { fork } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { availableParallelism, cpus } from 'node:os';
import { DeviceError, expected } from '../errors.js';
import type { ProbeAnswer, ProbeRequest } from './device-probe.js';
import type { Manifest } from './manifest.js';
import { type Device, type DeviceChoice, devices } from './model.js';

/** What is known of a device on this machine. */
export interface DeviceListing {
  readonly device: Device;
  readonly available: boolean;
  /** What it is or how it did, or why it can't be used. */
  readonly detail: string;
}

/** A GPU must beat the CPU by this in the probe: the many small steps of a real network gain less than its products. */
const worthwhileSpeedUp = 2;
const probeTimeoutMs = 60_000;

/**
 * Returns the device to use. 'auto' takes WebGPU where a trial shows it to be well ahead of the CPU, else the CPU. A
 * device that was asked for is tried first. Throws DeviceError when it can't be used.
 */
export async function resolveDevice(asked: Device | 'auto'): Promise<DeviceChoice> {
  if (asked === 'auto') return chooseDevice();
  if (!devices.includes(asked)) {
    throw new DeviceError(expected('device', `auto or one of ${devices.join(', ')}`, asked));
  }
  if (asked === 'cpu') return { device: 'cpu', reason: 'it was asked for' };
  const answer = await probe(asked);
  if ('complaint' in answer)
    throw new DeviceError(`The device ${asked} can't be used: ${answer.complaint}. ${remedy(asked)}`);
  return { device: asked, reason: 'it was asked for' };
}

/**
 * Returns the choice, or the one device that a model's graphs were written for. Throws DeviceError where another was asked for.
 */
export function deviceFor(
  { name, device }: Pick<Manifest, 'name' | 'device'>,
  asked: Device | 'auto',
  choice: DeviceChoice,
): DeviceChoice {
  if (device === undefined || device === choice.device) return choice;
  if (asked === 'auto') return { device, reason: "the model's graphs were written for it" };
  throw new DeviceError(
    `Expected device to be ${device}, which the graphs of model "${name}" were written for, got ${asked}. Use ${device}, or export the model again without --device.`,
  );
}

/** Returns what every device is good for here. Tries each in a process of its own. */
export function listDevices(): Promise<DeviceListing[]> {
  return Promise.all(
    devices.map(async (device) => {
      if (device === 'cpu') return { device, available: true, detail: describeCpu() };
      const answer = await probe(device);
      if ('complaint' in answer) return { device, available: false, detail: `${answer.complaint}. ${remedy(device)}` };
      return { device, available: true, detail: compare(answer) };
    }),
  );
}

async function chooseDevice(): Promise<DeviceChoice> {
  if (!(await mayHaveGpu())) return { device: 'cpu', reason: 'this machine shows no GPU' };
  const answer = await probe('webgpu');
  if ('complaint' in answer) return { device: 'cpu', reason: `WebGPU can't be used: ${answer.complaint}` };
  const isWorthwhile = answer.deviceMs * worthwhileSpeedUp < answer.cpuMs;
  return { device: isWorthwhile ? 'webgpu' : 'cpu', reason: `on WebGPU ${compare(answer)}` };
}

function compare({ deviceMs, cpuMs }: { deviceMs: number; cpuMs: number }): string {
  return `a test network took ${deviceMs.toFixed(1)} ms, on the CPU ${cpuMs.toFixed(1)} ms`;
}

function describeCpu(): string {
  return `${cpus()[0]?.model.trim() ?? 'unknown model'}, ${availableParallelism()} threads`;
}

/** Returns false where a look at the device files already shows that there is no GPU, as on most servers. */
async function mayHaveGpu(): Promise<boolean> {
  if (process.platform !== 'linux') return true;
  const names = await Promise.all(['/dev', '/dev/dri'].map((folder) => readdir(folder).catch(() => [])));
  // Render nodes of the kernel's drivers, NVIDIA's own, and the GPU of a Windows host under WSL.
  return names.flat().some((name) => /^(?:renderD\d+|nvidia\d+|dxg)$/.test(name));
}

const homes: Partial<Record<Device, readonly [platform: NodeJS.Platform, name: string]>> = {
  directml: ['win32', 'Windows'],
  coreml: ['darwin', 'macOS'],
};

/** Returns how a device does, tried in a process of its own. */
function probe(device: Device): Promise<ProbeAnswer> {
  const home = homes[device];
  if (home !== undefined && home[0] !== process.platform) {
    return Promise.resolve({ complaint: `it exists on ${home[1]} only` });
  }
  return new Promise((resolve) => {
    const child = fork(new URL('./device-probe.js', import.meta.url), {
      // No flag of this process (a debugger's port, a test runner's) is meant for the child, and what drivers print isn't meant for anybody.
      execArgv: [],
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
      timeout: probeTimeoutMs,
      killSignal: 'SIGKILL',
    });
    child.once('message', (answer: ProbeAnswer) => {
      resolve(answer);
      // Nothing more is wanted of it, least of all that a driver's shutdown keeps us waiting.
      child.kill('SIGKILL');
    });
    child.once('error', (error) => resolve({ complaint: error.message }));
    child.once('exit', (code, signal) => resolve({ complaint: `trying it ended with ${signal ?? `code ${code}`}` }));
    child.send({ device } satisfies ProbeRequest, (error) => {
      if (error !== null) resolve({ complaint: error.message });
    });
  });
}

function remedy(device: Device): string {
  const useCpu = 'Or use the device cpu.';
  switch (device) {
    case 'webgpu':
      return `Install a driver for the GPU (on Linux a Vulkan driver). ${useCpu}`;
    case 'cuda':
    case 'tensorrt':
      return `It needs Linux with an NVIDIA GPU and onnxruntime's libraries for it: ONNXRUNTIME_NODE_INSTALL=cuda12 npm rebuild onnxruntime-node. ${useCpu}`;
    default:
      return useCpu.replace('Or use', 'Use');
  }
}
