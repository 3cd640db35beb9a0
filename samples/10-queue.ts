// Two jobs in a queue, the more urgent one first. Run: node dist/samples/10-queue.js [folder] [model]
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { JobQueue, loadModel, pipelines, saveClip } from 'reelspace';

const [folder = 'queue', modelName = 'reel-tiny'] = process.argv.slice(2);
await mkdir(folder, { recursive: true });

const model = await loadModel(modelName);
const queue = new JobQueue<string>(async (job, context) => {
  const pipeline = pipelines.find(({ name }) => name === job.pipeline);
  if (pipeline === undefined) throw new Error(`There is no pipeline ${job.pipeline}.`);
  const path = join(folder, `${job.options.prompt}.mp4`);
  await saveClip(await pipeline.run(model, job.options, context), path, context);
  return path;
});
try {
  const events = queue.events();
  // The first starts at once; of those that wait, the highest priority goes first.
  for (const [prompt, priority] of [
    ['a dog', 0],
    ['a robot', 0],
    ['a panda', 1],
  ] as const) {
    queue.submit({ pipeline: 'generate', options: { prompt, seed: 7 }, priority });
  }
  let running = 3;
  for await (const { state, options, result, error } of events) {
    if (state === 'completed') console.log(`${options.prompt}: ${result}`);
    if (state === 'failed') console.error(`${options.prompt}: ${error?.message}`);
    if ((state === 'completed' || state === 'failed') && --running === 0) break;
  }
} finally {
  await queue.close();
  await model.close();
}
