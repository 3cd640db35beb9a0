// What the clip looks like at each step of its making, as numbered PNGs. Run: node dist/samples/08-preview.js [folder] [model]
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { createVideoWriter, loadModel, type Preview, saveClip, textToVideo } from 'reelspace';

const [folder = 'preview', modelName = 'reel-tiny'] = process.argv.slice(2);
await mkdir(folder, { recursive: true });

const model = await loadModel(modelName);
try {
  const previews: Preview[] = [];
  const clip = await textToVideo.run(
    model,
    { prompt: 'a rocket in space', seed: 7 },
    {
      onProgress: ({ preview }) => {
        const picture = preview?.();
        if (picture !== undefined) previews.push(picture);
      },
    },
  );
  await saveClip(clip, join(folder, 'clip.mp4'));
  for (const [index, { width, height, data }] of previews.entries()) {
    const path = join(folder, `step-${String(index + 1).padStart(2, '0')}.png`);
    const writer = await createVideoWriter(path, { width, height, frameRate: 1 });
    await writer.write({ width, height, data });
    await writer.finish();
  }
  console.log(`${folder}: ${previews.length} previews and the clip`);
} finally {
  await model.close();
}
