// Words that count more or less, and a prompt that changes along the clip. Run: node dist/samples/14-prompts.js [output.mp4] [model]
import { loadModel, saveClip, textToVideo } from 'reelspace';

const [output = 'prompts.mp4', modelName = 'reel-tiny'] = process.argv.slice(2);

const model = await loadModel(modelName);
try {
  const { numFrames } = model.manifest.defaults;
  const promptAt = { 0: 'a (pumpkin:1.3) in a [forest]', [numFrames - 1]: 'a (fox:1.3) in a [forest]' };
  const clip = await textToVideo.run(model, { promptAt, seed: 7 });
  await saveClip(clip, output);
  console.log(`${output}: ${numFrames} frames, ${Object.values(promptAt).join(' -> ')}`);
} finally {
  await model.close();
}
