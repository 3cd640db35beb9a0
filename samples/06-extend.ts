// A clip that goes on where it ended. Run: node dist/samples/06-extend.js [output.mp4] [model]
import { extend, loadModel, saveClip, textToVideo } from 'reelspace';

const [output = 'extend.mp4', modelName = 'reel-tiny'] = process.argv.slice(2);

const model = await loadModel(modelName);
try {
  const prompt = 'a balloon in the snow';
  const first = output.replace(/(?=\.\w+$)/, '-first');
  await saveClip(await textToVideo.run(model, { prompt, seed: 7 }), first);
  const added = 2 * model.manifest.latent.temporalCompression;
  const { numFrames } = await saveClip(
    await extend.run(model, { input: first, prompt, numFrames: added, seed: 7 }),
    output,
  );
  console.log(`${output}: ${numFrames} frames, the first ${numFrames - added} of them those of ${first}`);
} finally {
  await model.close();
}
