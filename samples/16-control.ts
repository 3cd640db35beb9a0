// A clip that keeps the edges of another, and one that does so for its first steps only. The model is one with a control net for edges
// (docs/models.md). Run: node dist/samples/16-control.js folder model [clip.mp4]
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { loadModel, saveClip, textToVideo } from 'reelspace';

const [folder = 'control', modelName = './sd-1.5-edges', source = 'samples/media/tree.mp4'] = process.argv.slice(2);
await mkdir(folder, { recursive: true });

const model = await loadModel(modelName);
try {
  for (const [name, control] of [
    ['whole', `edges=${source}`],
    ['loose', `edges=${source}:0.7:0:0.5`],
  ] as const) {
    const clip = await textToVideo.run(model, {
      prompt: 'a tree of glass',
      numFrames: 4,
      frameRate: 8,
      steps: 8,
      seed: 7,
      control,
    });
    await saveClip(clip, join(folder, `${name}.mp4`));
  }
  console.log(`${folder}: whole.mp4 and loose.mp4 by the edges of ${source}`);
} finally {
  await model.close();
}
