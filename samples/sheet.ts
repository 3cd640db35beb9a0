// A picture of clips: a row each, of frames spread evenly over it. Made the README's picture, from the clips of `npm run demo`.
// Run: node dist/samples/sheet.js sheet.png demo/generate.mp4 demo/restyle.mp4 demo/morph.mp4
import { createVideoWriter, type Frame, probe, readFrames } from 'reelspace';

const columns = 8;
const tileHeight = 112;
const gap = 4;

/** Returns evenly spread frames of a clip, all of one height. */
async function spreadFrames(path: string): Promise<Frame[]> {
  const { width, height } = await probe(path);
  const frames: Frame[] = [];
  const size = { width: Math.round((width * tileHeight) / height), height: tileHeight };
  for await (const frame of readFrames(path, size)) frames.push(frame);
  return Array.from(
    { length: columns },
    (_, column) => frames[Math.round((column * (frames.length - 1)) / (columns - 1))] as Frame,
  );
}

function paste(sheet: Frame, picture: Frame, left: number, top: number): void {
  for (let y = 0; y < picture.height; y++) {
    const row = picture.data.subarray(y * picture.width * 3, (y + 1) * picture.width * 3);
    sheet.data.set(row, ((top + y) * sheet.width + left) * 3);
  }
}

const [output = 'sheet.png', ...clips] = process.argv.slice(2);
const rows = await Promise.all(clips.map(spreadFrames));
const width = Math.max(...rows.map((row) => row.reduce((sum, frame) => sum + frame.width + gap, -gap)));
const height = rows.length * (tileHeight + gap) - gap;
const sheet: Frame = { width, height, data: new Uint8Array(width * height * 3).fill(255) };
for (const [index, row] of rows.entries()) {
  // Rows narrower than the widest one are spread over its width.
  const step = (width - (row[0]?.width ?? 0)) / (columns - 1);
  for (const [column, frame] of row.entries()) {
    paste(sheet, frame, Math.round(column * step), index * (tileHeight + gap));
  }
}
const writer = await createVideoWriter(output, { width, height, frameRate: 1 });
await writer.write(sheet);
const { sizeBytes } = await writer.finish();
console.log(`${output}: ${width}x${height}, ${sizeBytes} bytes`);
