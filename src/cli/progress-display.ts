// Progress on stderr: one bar on a terminal, a line now and then elsewhere.
import cliProgress from 'cli-progress';
import { type Progress, type Stage, stages } from '../diffusion/progress.js';
import { note } from './print.js';

/** Shows how far a run is. */
export interface ProgressDisplay {
  readonly onProgress: (progress: Progress) => void;
  /** Prints a line of its own. */
  note(text: string): void;
  /** Clears the bar. */
  stop(): void;
}

/** Returns a display on that stream; with `quiet` only notes are shown. */
export function createProgressDisplay(stream: NodeJS.WriteStream, quiet: boolean): ProgressDisplay {
  if (quiet) return { onProgress: () => {}, note: (text) => note(text, stream), stop: () => {} };
  return stream.isTTY ? barDisplay(stream) : lineDisplay(stream);
}

/**
 * Returns a function that picks the stage to show. Stages overlap: denoising is the longest and goes first, otherwise the
 * one nearest to the end tells most.
 */
export function followStages(): (progress: Progress) => Progress {
  const latest = new Map<Stage, Progress>();
  return (progress) => {
    latest.set(progress.stage, progress);
    const denoise = latest.get('denoise');
    if (denoise !== undefined && !isFinished(denoise)) return denoise;
    return latest.get(stages.findLast((stage) => latest.has(stage)) ?? progress.stage) ?? progress;
  };
}

function isFinished({ done, total }: Progress): boolean {
  return total !== undefined && done >= total;
}

function barDisplay(stream: NodeJS.WriteStream): ProgressDisplay {
  const follow = followStages();
  const bar = new cliProgress.SingleBar({
    stream,
    clearOnComplete: true,
    gracefulExit: false,
    format: (options, { progress, eta }, { stage, done, total }: Progress) => {
      const name = stage.padEnd(7);
      if (total === undefined) return `${name} ${done}`;
      const width = options.barsize ?? 40;
      const filled = Math.round(progress * width);
      const left = Number.isFinite(eta) && eta > 0 ? `, ${eta} s left` : '';
      return `${name} ${'█'.repeat(filled)}${'░'.repeat(width - filled)} ${done}/${total}${left}`;
    },
  });
  let shown: Stage | undefined;
  return {
    onProgress: (progress) => {
      const current = follow(progress);
      const total = current.total ?? 0;
      if (shown !== current.stage) {
        if (shown !== undefined) bar.stop();
        bar.start(total, current.done, current);
        shown = current.stage;
      } else {
        bar.setTotal(total);
        bar.update(current.done, current);
      }
    },
    note: (text) => {
      if (shown !== undefined) bar.stop();
      shown = undefined;
      note(text, stream);
    },
    stop: () => {
      if (shown !== undefined) bar.stop();
      shown = undefined;
    },
  };
}

/** Lines of a stage of known length. */
const linesPerStage = 10;
/** Frames between lines of a stage whose length isn't known yet. */
const framesPerLine = 100;

function lineDisplay(stream: NodeJS.WriteStream): ProgressDisplay {
  const printed = new Map<Stage, number>();
  return {
    onProgress: ({ stage, done, total }) => {
      const line = total === undefined ? Math.floor(done / framesPerLine) : Math.floor((done / total) * linesPerStage);
      // A line that is lower than the last belongs to the next window.
      if (printed.get(stage) === line) return;
      printed.set(stage, line);
      stream.write(total === undefined ? `${stage} ${done}\n` : `${stage} ${done}/${total}\n`);
    },
    note: (text) => note(text, stream),
    stop: () => {},
  };
}
