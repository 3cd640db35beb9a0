// Frames as they are made, with no file at all: the brightness of each. Run: node dist/samples/11-frames.js [model]
import { loadModel, textToVideo } from 'reelspace';

const [modelName = 'reel-tiny'] = process.argv.slice(2);

const model = await loadModel(modelName);
try {
  const clip = await textToVideo.run(model, { prompt: 'a robot in a meadow', seed: 7 });
  let index = 0;
  for await (const { data } of clip.frames) {
    const brightness = data.reduce((sum, value) => sum + value, 0) / data.length;
    console.log(`frame ${index++}: ${brightness.toFixed(1)}`);
  }
} finally {
  await model.close();
}
