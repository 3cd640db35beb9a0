// One prompt and seed at three scales of a LoRA. Run: node dist/samples/13-lora.js folder model style.safetensors
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { loadModel, saveClip, textToVideo } from 'reelspace';

const [folder = 'lora', modelName = 'reel-tiny', path = 'style.safetensors'] = process.argv.slice(2);
await mkdir(folder, { recursive: true });

const model = await loadModel(modelName, { loras: [{ path }] });
try {
  const [lora] = model.loras;
  for (const scale of [0, 0.5, 1]) {
    await model.setLoras([{ path, scale }]);
    const clip = await textToVideo.run(model, { prompt: 'a fox in the snow', seed: 7 });
    await saveClip(clip, join(folder, `scale-${scale}.mp4`));
  }
  console.log(`${folder}: three clips; ${path} changes ${lora?.weights} weights of ${model.name}`);
} finally {
  await model.close();
}
