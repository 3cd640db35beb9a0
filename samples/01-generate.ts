// A clip from a prompt, with progress. Run: node dist/samples/01-generate.js [output.mp4] [model]
import { loadModel, saveClip, textToVideo } from 'reelspace';

const [output = 'generate.mp4', modelName = 'reel-tiny'] = process.argv.slice(2);

const model = await loadModel(modelName);
try {
  const clip = await textToVideo.run(
    model,
    { prompt: 'a chicken on a beach', seed: 7 },
    { onProgress: ({ stage, done, total }) => console.error(`${stage} ${done}/${total ?? '?'}`) },
  );
  const { sizeBytes } = await saveClip(clip, output);
  console.log(`${output}: ${clip.width}x${clip.height}, ${clip.numFrames} frames, ${sizeBytes} bytes`);
} finally {
  await model.close();
}
