#!/usr/bin/env node
// The program `reelspace`.
import { runCommandLine } from './command-line.js';
import { describeFailure, exitCodeOf } from './failure.js';

// Who reads our output may stop reading (`| head`); that is no reason to fail.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
  });
}

try {
  await runCommandLine(process.argv.slice(2));
} catch (error) {
  process.exitCode = exitCodeOf(error);
  process.stderr.write(`${describeFailure(error, process.env.REELSPACE_DEBUG === '1')}\n`);
}
