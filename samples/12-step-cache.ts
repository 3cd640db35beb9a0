// Network calls left out, and how near the clip stays. Run: node dist/samples/12-step-cache.js [output.mp4] [model]
import { CallCount, loadModel, saveClip, textToVideo } from 'reelspace';

const [output = 'step-cache.mp4', modelName = 'reel-tiny'] = process.argv.slice(2);

const model = await loadModel(modelName);
try {
  const options = { prompt: 'a chicken on a beach', steps: 20, seed: 7 };
  const [whole] = await makeFrames('off');
  const [cached, calls] = await makeFrames('auto');
  let sum = 0;
  for (const [index, value] of whole.entries()) sum += (value - (cached[index] as number)) ** 2;
  const psnr = 10 * Math.log10(255 ** 2 / (sum / whole.length));
  await saveClip(await textToVideo.run(model, { ...options, cache: 'auto' }), output);
  console.log(
    `${output}: ${calls.saved} of ${calls.made + calls.saved} calls saved, ${psnr.toFixed(1)} dB from the whole clip`,
  );

  async function makeFrames(cache: 'off' | 'auto'): Promise<[Buffer, CallCount]> {
    const calls = new CallCount();
    const frames: Uint8Array[] = [];
    const clip = await textToVideo.run(model, { ...options, cache }, { calls });
    for await (const { data } of clip.frames) frames.push(data);
    return [Buffer.concat(frames), calls];
  }
} finally {
  await model.close();
}
