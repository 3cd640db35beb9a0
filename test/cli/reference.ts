// The reference of the command line as Markdown, from the schemas that also make the flags.
import { pipelines } from '../../pipelines/index.js';
import { displayName, type OptionFlag, optionFlags } from '../../src/cli/option-flags.js';
import { argumentUsage, runFlags } from '../../src/cli/pipeline-command.js';

/** Returns the text of docs/cli.md. */
export function commandReference(): string {
  const sampled = runFlags(optionFlags((pipelines[0] as (typeof pipelines)[number]).options));
  return [
    '# Command line',
    '',
    'Made from the schemas of the pipelines: `npm run docs` writes it, and a test fails when it is old.',
    '',
    'Exit codes: 0 done, 1 failed, 2 bad arguments, 130 interrupted (by SIGINT, SIGTERM or SIGHUP; a second one ends at once).',
    'Results go to stdout, progress and warnings to stderr. With `--json` that is one object, for a run that failed `{"error":{"code":...,',
    '"message":...,"hint":...}}`.',
    '',
    '## Flags of every run',
    '',
    ...table(
      ['flag', 'meaning'],
      Object.entries(sampled).map(([name, { alias, describe }]) => [
        `\`--${name}\`${typeof alias === 'string' ? `, \`-${alias}\`` : ''}`,
        String(describe),
      ]),
    ),
    '',
    'Without `-o` the output is named after the command (`generate.mp4`, then `generate-2.mp4`), so that nothing is replaced, and',
    'ends in `.png` where a picture is restyled, inpainted or reconstructed. A file',
    'named by `-o` is replaced when the new one is whole; a folder must be empty, and numbered pictures (`-o out_%04d.png`, also `.jpg` and',
    '`.webp`) replace none. Nothing is written over a file that is read, but by `--like`. `--like` and `--save-latents` exist where noise is drawn. `--like` of a',
    'clip from the same command gives all its options, of a clip from another its prompt and sampling; flags go before it. Settings are in',
    'MP4, WebM, PNG, JPEG and WebP files and in latents, not in GIFs. What other files `--like` has read is told on stderr.',
    ...pipelines.flatMap(({ name, summary, options }) => [
      '',
      `## reelspace ${name}`,
      '',
      `${summary}.`,
      '',
      ...section(name, optionFlags(options)),
    ]),
    '',
    '## reelspace encode',
    '',
    'Save the latents of a clip: `reconstruct` with an output that ends in `.safetensors`, and the same flags.',
    '',
    '## reelspace models, reelspace doctor',
    '',
    '`reelspace models` lists the bundled and the pulled models, `reelspace models info NAME` says what one can do, `reelspace models verify NAME`',
    'checks its files against their SHA-256, `reelspace models pull ORG/NAME[@REVISION]` brings one from a hub and `reelspace models rm',
    'ORG/NAME` removes it, or what a pull that broke off has left. `reelspace doctor` says what is there to work with: ffmpeg, devices, memory,',
    'models. All take `--json`.',
    '',
  ].join('\n');
}

function section(name: string, options: readonly OptionFlag[]): string[] {
  const usage = options.filter(({ positional }) => positional !== undefined).map(argumentUsage);
  return [
    '```sh',
    ['reelspace', name, ...usage].join(' '),
    '```',
    '',
    ...table(
      ['option', 'value', 'default', 'meaning'],
      options.map((option) => [
        `\`${displayName(option)}\``,
        option.rule,
        option.defaultValue === undefined ? '' : `\`${option.defaultValue}\``,
        option.description,
      ]),
    ),
  ];
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), `|${head.map(() => '---').join('|')}|`, ...rows.map(line)];
}
