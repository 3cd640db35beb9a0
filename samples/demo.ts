// `npm run demo`: three clips from the bundled model, one made from a prompt, one restyled from a real clip, one morph.
import { mkdir } from 'node:fs/promises';
import {
  type Clip,
  loadModel,
  type Model,
  morph,
  type RunContext,
  type Stage,
  StageClock,
  saveClip,
  stages,
  textToVideo,
  videoToVideo,
} from 'reelspace';

const folder = 'demo';

const clips: readonly { name: string; about: string; make(model: Model, context: RunContext): Promise<Clip> }[] = [
  {
    name: 'generate',
    about: '"a chicken on a beach"',
    make: (model, context) => textToVideo.run(model, { prompt: 'a chicken on a beach', seed: 7 }, context),
  },
  {
    name: 'restyle',
    about: 'samples/media/cup.mp4 as "a pencil sketch"',
    make: (model, context) =>
      videoToVideo.run(
        model,
        {
          input: 'samples/media/cup.mp4',
          prompt: 'a pencil sketch',
          maxFrames: model.manifest.defaults.numFrames,
          seed: 7,
        },
        context,
      ),
  },
  {
    name: 'morph',
    about: 'from "a pumpkin" to "a fox"',
    make: (model, context) => morph.run(model, { keyframes: ['a pumpkin', 'a fox'], seed: 7 }, context),
  },
];

/** Returns a function that says on stderr how far a clip is: the line is rewritten on a terminal, else one for each stage. */
function reportTo(stream: NodeJS.WriteStream, name: string): NonNullable<RunContext['onProgress']> {
  let last: Stage | undefined;
  return ({ stage, done, total }) => {
    if (stream.isTTY) stream.write(`\r\x1b[K${name}: ${stage} ${done}/${total ?? '?'}`);
    else if (stage !== last) stream.write(`${name}: ${stage}\n`);
    last = stage;
  };
}

const start = performance.now();
await mkdir(folder, { recursive: true });
const model = await loadModel('reel-tiny');
try {
  console.log(`${model.name} on ${model.device.device}: ${model.device.reason}\n`);
  for (const { name, about, make } of clips) {
    const path = `${folder}/${name}.mp4`;
    const clock = new StageClock();
    const context = { clock, onProgress: reportTo(process.stderr, name) };
    const clip = await make(model, context);
    const { numFrames } = await saveClip(clip, path, context);
    if (process.stderr.isTTY) process.stderr.write('\r\x1b[K');
    const seconds = stages.flatMap((stage) => {
      const spent = clock.seconds[stage];
      return spent === undefined ? [] : [`${stage} ${spent.toFixed(1)} s`];
    });
    console.log(`${path}  ${about}\n  ${numFrames} frames, ${clip.width}x${clip.height}; ${seconds.join(', ')}`);
  }
} finally {
  await model.close();
}
const peakMb = Math.round((process.resourceUsage().maxRSS * 1024) / 1e6);
console.log(`\n${((performance.now() - start) / 1000).toFixed(1)} s in all, ${peakMb} MB of memory at most`);
