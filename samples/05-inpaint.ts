// A part of a clip made anew; everything outside the mask stays. Run: node dist/samples/05-inpaint.js [output.mp4] [model]
import { inpaint, loadModel, saveClip } from 'reelspace';

const [output = 'inpaint.mp4', modelName = 'reel-tiny'] = process.argv.slice(2);

const model = await loadModel(modelName);
try {
  const clip = await inpaint.run(model, {
    input: 'samples/media/cup.mp4',
    prompt: 'a cake',
    // x, y, width, height in pixels of the source; the name of a black and white picture or clip works too.
    mask: '96,64,128,128',
    maxFrames: model.manifest.defaults.numFrames,
    seed: 7,
  });
  await saveClip(clip, output);
  console.log(`${output}: ${clip.numFrames} frames with a cake in them`);
} finally {
  await model.close();
}
