// A model from a hub, and a clip by it. Run: node dist/samples/15-pull.js output.mp4 org/name [endpoint] [cache folder]
import { homedir } from 'node:os';
import { join } from 'node:path';
import { loadModel, pullModel, saveClip, textToVideo } from 'reelspace';

const [
  output = 'pull.mp4',
  name,
  endpoint = 'https://huggingface.co',
  cacheFolder = join(homedir(), '.cache/huggingface/hub'),
] = process.argv.slice(2);

if (name === undefined) {
  console.error('Name a model: node dist/samples/15-pull.js output.mp4 org/name');
  process.exitCode = 2;
} else {
  const { path, sizeBytes } = await pullModel(name, {
    endpoint,
    cacheFolder,
    onProgress: ({ path: file, doneBytes, totalBytes }) => console.error(`${file} ${doneBytes}/${totalBytes}`),
  });
  const model = await loadModel(path);
  try {
    await saveClip(await textToVideo.run(model, { prompt: 'a chicken on a beach', seed: 7 }), output);
    console.log(`${output}: by ${name}, ${sizeBytes} bytes`);
  } finally {
    await model.close();
  }
}
