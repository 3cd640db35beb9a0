#!/usr/bin/env node
// The program `reelspace`.
import { runCommandLine } from './command-line.js';
import { asksForJson, describeFailure, exitCodeOf, exitCodes, failureReport } from './failure.js';
import { note, print } from './print.js';

for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    // Who reads our output may stop reading (`| head`); that is no reason to fail.
    if (error.code === 'EPIPE') return;
    process.exitCode = exitCodes.failed;
    if (stream === process.stdout)
      note(`error: Expected standard output to take what is printed, but: ${error.message}.`);
  });
}

const arguments_ = process.argv.slice(2);
try {
  await runCommandLine(arguments_);
} catch (error) {
  process.exitCode = exitCodeOf(error);
  if (asksForJson(arguments_)) print(failureReport(error));
  note(describeFailure(error, process.env.REELSPACE_DEBUG === '1'));
}
