// What a run came to, as JSON and in words.
import { type Stage, stages } from '../diffusion/progress.js';

/** The object that `--json` prints. */
export interface RunReport {
  readonly output: string;
  /** Missing for runs without noise. */
  readonly seed?: unknown;
  readonly frames: number;
  readonly width: number;
  readonly height: number;
  readonly frameRate: number;
  readonly settings: Readonly<Record<string, unknown>>;
  /** Seconds spent waiting for each stage; stages overlap, so they may add up to more or less than `seconds`. */
  readonly stageSeconds: Readonly<Partial<Record<Stage, number>>>;
  readonly seconds: number;
  /** Network calls that were made, and those that the step cache saved; missing for runs without any. */
  readonly calls?: { readonly made: number; readonly saved: number } | undefined;
  /** Of this process with its networks, without ffmpeg's. */
  readonly peakRssBytes: number;
  readonly sizeBytes: number;
  readonly device: string;
  readonly warnings: readonly string[];
  /** File of the latents, where they were kept. */
  readonly latents?: string | undefined;
}

/** Returns a run in two or three lines. */
export function describeRun(report: RunReport): string {
  const { output, frames, width, height, frameRate, sizeBytes, seed, latents, calls } = report;
  const parts = [
    frames === 1 ? '1 frame' : `${frames} frames`,
    `${width}x${height}`,
    `${Number(frameRate.toFixed(3))} fps`,
    describeBytes(sizeBytes),
    ...(seed === undefined ? [] : [`seed ${seed}`]),
  ];
  const lines = [output, `  ${parts.join(', ')}`, `  ${describeCost(report)}`];
  if (calls !== undefined && calls.saved > 0) lines.push(`  ${describeCalls(calls)}`);
  if (latents !== undefined) lines.push(`  latents in ${latents}`);
  return lines.join('\n');
}

/** Returns what the step cache saved in one line. */
export function describeCalls({ made, saved }: { readonly made: number; readonly saved: number }): string {
  const all = made + saved;
  return `${saved} of ${all} network calls saved (${((100 * saved) / all).toFixed(0)} %)`;
}

/** Returns the time of each stage and the memory in one line. */
export function describeCost({
  seconds,
  stageSeconds,
  peakRssBytes,
}: Pick<RunReport, 'seconds' | 'stageSeconds' | 'peakRssBytes'>): string {
  const perStage = stages.flatMap((stage) => {
    const spent = stageSeconds[stage];
    return spent === undefined ? [] : [`${stage} ${spent.toFixed(1)}`];
  });
  return `${seconds.toFixed(1)} s (${perStage.join(', ')}), ${describeBytes(peakRssBytes)} at most`;
}

/** Returns a size in the unit that suits it. */
export function describeBytes(bytes: number): string {
  const units = ['bytes', 'kB', 'MB', 'GB', 'TB'];
  const power = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(1, bytes)) / 3)));
  const value = bytes / 1000 ** power;
  return `${power === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[power]}`;
}
