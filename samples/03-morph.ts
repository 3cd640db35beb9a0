// A path in latent space from one prompt to another. Keyframes may also be pictures and clips: name a file.
// Run: node dist/samples/03-morph.js [output.mp4] [model]
import { loadModel, morph, saveClip } from 'reelspace';

const [output = 'morph.mp4', modelName = 'reel-tiny'] = process.argv.slice(2);

const model = await loadModel(modelName);
try {
  const clip = await morph.run(model, { keyframes: ['a pumpkin', 'a fox'], ease: 'smooth', seed: 7 });
  await saveClip(clip, output);
  console.log(`${output}: ${clip.numFrames} frames from a pumpkin to a fox`);
} finally {
  await model.close();
}
