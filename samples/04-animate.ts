// A picture that starts to move. The picture is the first frame of a clip here; any image file will do.
// Run: node dist/samples/04-animate.js [output.mp4] [model]
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createVideoWriter, imageToVideo, loadModel, readFrames, saveClip } from 'reelspace';

const [output = 'animate.mp4', modelName = 'reel-tiny'] = process.argv.slice(2);

const folder = await mkdtemp(join(tmpdir(), 'reelspace-sample-'));
const model = await loadModel(modelName);
try {
  const picture = join(folder, 'first.png');
  for await (const frame of readFrames('samples/media/cup.mp4', { maxFrames: 1 })) {
    const writer = await createVideoWriter(picture, { width: frame.width, height: frame.height, frameRate: 1 });
    await writer.write(frame);
    await writer.finish();
  }
  const clip = await imageToVideo.run(model, { input: picture, prompt: 'a cup, moving left', seed: 7 });
  await saveClip(clip, output);
  console.log(`${output}: ${clip.numFrames} frames that start at ${picture}`);
} finally {
  await model.close();
  await rm(folder, { recursive: true });
}
