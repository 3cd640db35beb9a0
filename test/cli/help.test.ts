// Every flag is in --help, and every option of a pipeline can be given.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pipelines } from '../../pipelines/index.js';
import { optionFlags } from '../../src/cli/option-flags.js';
import { runCli } from './run-cli.js';

test('the program lists its commands', async () => {
  const { code, stdout } = await runCli(['--help']);
  assert.equal(code, 0);
  for (const name of [...pipelines.map((pipeline) => pipeline.name), 'encode', 'models', 'doctor']) {
    assert.match(stdout, new RegExp(`^ +reelspace ${name}\\b`, 'm'));
  }
});

for (const { name, summary, options } of pipelines) {
  test(`${name} --help has its summary and every option with its description`, async () => {
    const { code, stdout } = await runCli([name, '--help']);
    const text = stdout.replace(/\s+/g, ' ');
    assert.equal(code, 0);
    assert.ok(text.includes(summary));
    for (const { flag, positional, description } of optionFlags(options)) {
      assert.notEqual(description, '', `${name} ${flag}`);
      assert.ok(text.includes(positional === undefined ? `--${flag} ` : ` ${flag} `), `${name} ${flag}`);
      assert.ok(text.includes(description.replace(/\s+/g, ' ')), `${name}: ${description}`);
    }
    for (const flag of ['--output', '--model', '--device', '--json', '--quiet']) assert.ok(text.includes(flag), flag);
  });
}

test('no two options of a command share a flag', () => {
  for (const { name, options } of pipelines) {
    const flags = optionFlags(options).map(({ flag }) => flag);
    assert.equal(new Set(flags).size, flags.length, name);
  }
});
