// Latents saved first and decoded later: what takes long is done once. Run: node dist/samples/07-latents.js [output.mp4] [model]
import { stat } from 'node:fs/promises';
import { decode, loadModel, saveClip, textToVideo } from 'reelspace';

const [output = 'latents.mp4', modelName = 'reel-tiny'] = process.argv.slice(2);
const latents = output.replace(/\.\w+$/, '.safetensors');

const model = await loadModel(modelName);
try {
  await saveClip(await textToVideo.run(model, { prompt: 'a frog on a beach', seed: 7 }), latents);
  const clip = await decode.run(model, { input: latents });
  await saveClip(clip, output);
  const { size } = await stat(latents);
  const bytesOfFrames = (clip.numFrames ?? 0) * clip.width * clip.height * 3;
  console.log(`${latents}: ${size} bytes for ${bytesOfFrames} bytes of frames, in ${output}`);
} finally {
  await model.close();
}
