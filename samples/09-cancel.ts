// A run that is called off after its second step. Run: node dist/samples/09-cancel.js [output.mp4] [model]
import { CancelledError, loadModel, saveClip, textToVideo } from 'reelspace';

const [output = 'cancel.mp4', modelName = 'reel-tiny'] = process.argv.slice(2);

const model = await loadModel(modelName);
const controller = new AbortController();
const context = {
  signal: controller.signal,
  onProgress: ({ stage, done }: { stage: string; done: number }) => {
    if (stage === 'denoise' && done === 2) controller.abort();
  },
};
try {
  const clip = await textToVideo.run(model, { prompt: 'a duck on a beach', seed: 7 }, context);
  await saveClip(clip, output, context);
} catch (error) {
  if (!(error instanceof CancelledError)) throw error;
  console.log(`Cancelled; no ${output} was written.`);
} finally {
  await model.close();
}
