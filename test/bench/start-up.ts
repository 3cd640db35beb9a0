// From the start of a process to the end of its first denoise step, at the model's own size.
import { join } from 'node:path';
import { loadModel } from '../../src/networks/load-model.js';
import { denoiseStep, guidanceScale } from './denoise-step.js';
import { startProgram } from './program.js';
import { type Benchmark, inTurns, type Setting, secondsOf } from './result.js';
import type { TorchProcess } from './torch.js';

const interrupted = 130;

export const startUp: Benchmark = {
  name: 'start',
  async run(setting) {
    const ours = () => secondsToFirstStep(setting);
    const row = { name: 'start of `reelspace generate` to its first denoise step', unit: 'seconds' } as const;
    await ours();
    const torch = await setting.startTorch();
    if (typeof torch === 'string') {
      const [seconds = []] = await inTurns(setting.repeats, [ours]);
      return [{ ...row, against: 'PyTorch', ours: seconds, theirs: [], note: torch }];
    }
    await torch.close();
    const model = await loadModel(setting.model, { device: 'cpu', threads: setting.threads });
    const { inputs } = await denoiseStep(model);
    await model.close();
    const theirs = () => secondsOf(() => firstTorchStep(setting, inputs));
    const [seconds = [], others = []] = await inTurns(setting.repeats, [ours, theirs]);
    return [
      {
        ...row,
        against: 'Python with PyTorch fp32',
        ours: seconds,
        theirs: others,
        note: 'Python is spared the tokenizer, the text encoder and the check of the files',
      },
    ];
  },
};

async function secondsToFirstStep({ model, folder }: Setting): Promise<number> {
  const start = performance.now();
  let seconds: number | undefined;
  const output = join(folder, 'start-up.mp4');
  const arguments_ = ['generate', 'a chicken on a beach', '-o', output, '--seed', '7', '--device', 'cpu'];
  const guidance = ['--guidance', String(guidanceScale)];
  const { child, ended } = startProgram([...arguments_, ...guidance, '--model', model], (text) => {
    if (seconds !== undefined || !/^denoise /m.test(text)) return;
    seconds = (performance.now() - start) / 1000;
    child.kill('SIGINT');
  });
  const { code, stderr } = await ended;
  if (seconds === undefined || code !== interrupted) {
    throw new Error(`reelspace generate ended with code ${code}: ${stderr.trim().split('\n').at(-1)}`);
  }
  return seconds;
}

async function firstTorchStep(setting: Setting, inputs: Parameters<TorchProcess['prepare']>[1]): Promise<void> {
  const torch = await setting.startTorch();
  if (typeof torch === 'string') throw new Error(torch);
  await torch.prepare('denoise_step', inputs);
  await torch.seconds('denoise_step', false);
  await torch.close();
}
