// What a process and its children use, from Linux's /proc: ffmpeg is counted with the process that started it.
import { readdirSync, readFileSync } from 'node:fs';

/** Why a row is missing elsewhere. */
export const needsProc = 'is measured on Linux only: it is read from /proc';

/** Clock ticks a second of /proc/PID/stat, the same on every Linux that Node runs on (proc(5), USER_HZ). */
const ticksPerSecond = 100;

/** Returns whether this system tells what processes use. */
export function hasProc(): boolean {
  return process.platform === 'linux';
}

/** Returns the CPU seconds that this process and its ended children used so far, user and system, to 10 ms. */
export function cpuSeconds(): number {
  // After the name in parentheses: state is field 3, utime, stime, cutime and cstime are 14 to 17.
  const fields = readFileSync('/proc/self/stat', 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ');
  return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0) / ticksPerSecond;
}

/** Returns the ids of the processes that a process started and that are still there; none once it has ended. */
export function childrenOf(pid: number): number[] {
  return readTasks(pid).flatMap((task) => {
    const children = readOrEmpty(`/proc/${pid}/task/${task}/children`);
    return children.split(' ').flatMap((child) => (child === '' ? [] : [Number(child)]));
  });
}

/** Returns the arguments that a process was started with, its program first; none once it has ended. */
export function commandLine(pid: number): string[] {
  return readOrEmpty(`/proc/${pid}/cmdline`).split('\0').slice(0, -1);
}

/** Returns the bytes of memory that a process and all processes below it hold now. Pages that they share count for each. */
export function treeRssBytes(pid: number): number {
  const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(readOrEmpty(`/proc/${pid}/status`))?.[1] ?? '0';
  return childrenOf(pid).reduce((sum, child) => sum + treeRssBytes(child), Number(kilobytes) * 1024);
}

function readTasks(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`);
  } catch {
    return []; // it has ended
  }
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return ''; // it has ended
  }
}
