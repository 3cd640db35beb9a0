// A clip of your own picture: what the prompt names looks like that. Transparent parts stay out of it.
// Run: node dist/samples/17-reference.js [output.mp4] [model] [picture.png]
import { loadModel, saveClip, textToVideo } from 'reelspace';

const [output = 'reference.mp4', modelName = 'reel-tiny', reference = 'samples/media/reel.png'] = process.argv.slice(2);

const model = await loadModel(modelName);
try {
  const clip = await textToVideo.run(model, { prompt: 'a ball bouncing on a beach', reference, seed: 7 });
  await saveClip(clip, output);
  console.log(`${output}: ${clip.numFrames} frames of ${reference}`);
} finally {
  await model.close();
}
