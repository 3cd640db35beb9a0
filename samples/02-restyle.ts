// A real clip in another style; its structure and its sound stay. Run: node dist/samples/02-restyle.js [output.mp4] [model]
import { loadModel, saveClip, videoToVideo } from 'reelspace';

const [output = 'restyle.mp4', modelName = 'reel-tiny'] = process.argv.slice(2);

const model = await loadModel(modelName);
try {
  const clip = await videoToVideo.run(model, {
    input: 'samples/media/cup.mp4',
    prompt: 'a pencil sketch',
    maxFrames: model.manifest.defaults.numFrames,
    seed: 7,
  });
  await saveClip(clip, output);
  console.log(`${output}: ${clip.numFrames} frames at ${clip.frameRate} frames a second`);
} finally {
  await model.close();
}
