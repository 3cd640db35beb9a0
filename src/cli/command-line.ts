// The whole command line: which commands there are, and what happens when one is mistyped.
import yargs, { type Argv } from 'yargs';
import { pipelines } from '../../pipelines/index.js';
import { reconstruct } from '../../pipelines/reconstruct.js';
import { expected, InvalidOptionError } from '../errors.js';
import { nearestName } from '../networks/nearest-name.js';
import { doctorCommand, packageInfo } from './doctor-command.js';
import { modelsCommand } from './models-command.js';
import { type Command, encodeVariant, pipelineCommand } from './pipeline-command.js';

/** Columns beyond which help is hard to read. */
const widest = 110;

/** Of 400,000 onnxruntime makes a run that ends without a word (`networks/worker-host.ts`). */
const longestLine = 250_000;

const pipelineCommands: readonly Command[] = [
  ...pipelines.map((pipeline) => pipelineCommand(pipeline)),
  pipelineCommand(reconstruct, encodeVariant),
];

/** Runs the command that the arguments name. Throws what it throws, and InvalidOptionError for arguments that don't fit. */
export async function runCommandLine(arguments_: readonly string[]): Promise<void> {
  const characters = arguments_.join(' ').length;
  if (characters > longestLine) {
    throw new InvalidOptionError(
      expected('arguments', `at most ${longestLine} characters in all`, characters, 'Shorten the prompts.'),
    );
  }
  await commandLine(arguments_).parseAsync();
}

function commandLine(arguments_: readonly string[]): Argv {
  const parser = yargs([...arguments_])
    .scriptName('reelspace')
    .usage('$0 <command>\n\nShort video clips in a learned latent space: from a prompt, restyled, or morphed.')
    .parserConfiguration({
      'boolean-negation': false,
      'camel-case-expansion': false,
      'dot-notation': false,
      'parse-numbers': false,
      'parse-positional-numbers': false,
    })
    .locale('en')
    .version(packageInfo.version)
    .help()
    .alias('help', 'h')
    .strict()
    .exitProcess(false)
    .demandCommand(1, 'Expected a command, got none.')
    .epilogue(
      'Exit codes: 0 done, 1 failed, 2 bad arguments, 130 interrupted.\n' +
        'Environment: FFMPEG_PATH names the ffmpeg to use; REELSPACE_DEBUG=1 adds stack traces to errors.',
    )
    .fail((message, error) => {
      // A mistake that yargs-parser finds comes as an error of its own, one that yargs finds as text.
      const isUsage = error === null || error === undefined || error.name === 'YError';
      throw isUsage ? usageError(message, arguments_) : error;
    });
  for (const { module } of pipelineCommands) parser.command(module);
  parser.command(modelsCommand).command(doctorCommand);
  // Lines that go to a file or another program stay whole.
  return parser.wrap(process.stdout.isTTY ? Math.min(widest, parser.terminalWidth()) : null);
}

/** yargs says what is wrong; the hint says what to do. */
function usageError(message: string, arguments_: readonly string[]): InvalidOptionError {
  const commandNames = [...pipelineCommands.map(({ name }) => name), 'models', 'doctor'];
  const named =
    arguments_.find((argument) => commandNames.includes(argument)) ??
    arguments_.find((argument) => !argument.startsWith('-'));
  const command = pipelineCommands.find(({ name }) => name === named);
  const isKnown = named !== undefined && commandNames.includes(named);
  const help = command === undefined ? 'See reelspace --help.' : `See reelspace ${command.name} --help.`;
  const withoutValue = /^Not enough arguments following: (\S+)$/.exec(message)?.[1];
  if (withoutValue !== undefined)
    return new InvalidOptionError(`Expected a value after --${withoutValue}, got none.`, { hint: help });
  if (command !== undefined && message.startsWith('Not enough non-option arguments')) {
    return new InvalidOptionError(`Expected reelspace ${command.module.command}, got too few arguments.`, {
      hint: help,
    });
  }
  const unknown = /^Unknown (?:argument|command)s?: (.+)$/.exec(message)?.[1]?.split(', ')[0];
  if (unknown === undefined) return new InvalidOptionError(sentence(message), { hint: help });
  const flag = arguments_
    .map((argument) => argument.replace(/=.*/, ''))
    .find((text) => /^--?/.exec(text) && text.replace(/^--?/, '') === unknown);
  if (isKnown && flag !== undefined) {
    const nearest = nearestName(unknown, command?.flags ?? []);
    const guess = nearest === undefined ? '' : `Did you mean --${nearest}? `;
    return new InvalidOptionError(`Unknown flag ${flag}.`, { hint: `${guess}${help}` });
  }
  if (command !== undefined) {
    return new InvalidOptionError(`Unexpected argument ${JSON.stringify(unknown)}.`, {
      hint: `A text of several words needs quotes around it. ${help}`,
    });
  }
  const mistyped = isKnown ? unknown : (named ?? unknown);
  const nearest = nearestName(mistyped, commandNames);
  const guess = nearest === undefined ? '' : `Did you mean ${nearest}? `;
  return new InvalidOptionError(`Unknown command ${JSON.stringify(mistyped)}.`, { hint: `${guess}${help}` });
}

function sentence(message: string): string {
  const line = message.replace(/\s+/g, ' ').trim();
  return /[.!?]$/.test(line) ? line : `${line}.`;
}
