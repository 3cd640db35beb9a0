// One run from options to a file: the model is loaded, the clip made and written, and what happened is returned.
import { LatentsWriter } from '../diffusion/latents-file.js';
import type { Pipeline } from '../diffusion/pipeline.js';
import { StageClock } from '../diffusion/progress.js';
import { assertOutput, saveClip } from '../diffusion/save.js';
import { CallCount } from '../diffusion/step-cache.js';
import { expected, InvalidOptionError } from '../errors.js';
import type { Clip } from '../media/clip.js';
import { learnCapabilities } from '../media/command.js';
import { findFfmpeg } from '../media/ffmpeg.js';
import { loadModel } from '../networks/load-model.js';
import { devices, type LoraChoice, memoryUses } from '../networks/model.js';
import { resolveModel } from './hub-settings.js';
import { watchInterruption } from './interruption.js';
import { describeUnmatched } from './lora-flag.js';
import { createProgressDisplay, type ProgressDisplay } from './progress-display.js';
import type { RunReport } from './run-report.js';

/** Everything about a run that is not an option of its pipeline. */
export interface RunRequest {
  readonly pipeline: Pipeline;
  readonly options: Readonly<Record<string, unknown>>;
  readonly model: string;
  readonly device: string;
  readonly memory: string;
  readonly loras: readonly LoraChoice[];
  readonly loraPartial: boolean;
  readonly output: string;
  readonly saveLatents: string | undefined;
  readonly quiet: boolean;
}

/** Returns what was made. Progress and warnings go to stderr; an interruption ends the run with CancelledError. */
export async function runPipeline(request: RunRequest): Promise<RunReport> {
  const display = createProgressDisplay(process.stderr, request.quiet);
  const interruption = watchInterruption(() => display.note('Stopping. Once more ends it at once.'));
  try {
    return await makeAndSave(request, display, interruption.signal);
  } catch (error) {
    // What else goes wrong once a run is interrupted (ffmpeg gets the terminal's Ctrl-C too) is a consequence of that.
    throw interruption.signal.aborted ? interruption.signal.reason : error;
  } finally {
    display.stop();
    interruption.stop();
  }
}

async function makeAndSave(request: RunRequest, display: ProgressDisplay, signal: AbortSignal): Promise<RunReport> {
  const start = performance.now();
  const clock = new StageClock();
  const calls = new CallCount();
  const ffmpeg = findFfmpeg();
  // Both go on while the model is opened, and their failures are met later.
  for (const answer of [ffmpeg, learnCapabilities()]) answer.catch(() => {});
  const { loras, loraPartial } = request;
  const device = oneOf(['auto', ...devices], '--device', request.device);
  const memory = oneOf(memoryUses, '--memory', request.memory);
  // A model may take minutes to load.
  for (const path of [request.output, request.saveLatents]) if (path !== undefined) await assertOutput(path);
  const place = await resolveModel(request.model);
  const model = await loadModel(place, { device, memory, loras, loraPartial, reference: request.model });
  let writer: LatentsWriter | undefined;
  let clip: Clip | undefined;
  try {
    if (request.saveLatents !== undefined) writer = await LatentsWriter.create(request.saveLatents);
    const { warning } = await ffmpeg;
    if (warning !== undefined) display.note(`warning: ${warning}`);
    if (!request.quiet) display.note(`${model.name} on ${model.device.device}: ${model.device.reason}`);
    for (const text of describeUnmatched(model.loras)) display.note(`warning: ${text}`);
    const context = { signal, clock, calls, onProgress: display.onProgress, onLatents: writer?.write.bind(writer) };
    clip = await request.pipeline.run(model, request.options, context);
    for (const text of clip.warnings) display.note(`warning: ${text}`);
    const written = await saveClip(clip, request.output, context);
    await finishLatents(writer, clip);
    return {
      output: request.output,
      seed: clip.settings.seed,
      frames: written.numFrames,
      width: clip.width,
      height: clip.height,
      frameRate: clip.frameRate,
      settings: clip.settings,
      stageSeconds: clock.seconds,
      seconds: (performance.now() - start) / 1000,
      ...(calls.made === 0 ? {} : { calls: { made: calls.made, saved: calls.saved } }),
      peakRssBytes: process.resourceUsage().maxRSS * 1024,
      sizeBytes: written.sizeBytes,
      device: model.device.device,
      warnings: [...(warning === undefined ? [] : [warning]), ...describeUnmatched(model.loras), ...clip.warnings],
      ...(request.saveLatents === undefined ? {} : { latents: request.saveLatents }),
    };
  } catch (error) {
    if (clip !== undefined && !signal.aborted && (await finishLatents(writer, clip).catch(() => false))) {
      display.note(`The latents made so far are in ${request.saveLatents}: reelspace decode makes a clip of them.`);
    }
    throw error;
  } finally {
    await writer?.close();
    await model.close();
  }
}

async function finishLatents(writer: LatentsWriter | undefined, clip: Clip): Promise<boolean> {
  return (await writer?.finish(clip)) ?? false;
}

function oneOf<T extends string>(choices: readonly T[], flag: string, text: string): T {
  const found = choices.find((known) => known === text);
  if (found !== undefined) return found;
  throw new InvalidOptionError(expected(flag, `one of ${choices.join(', ')}`, text));
}
