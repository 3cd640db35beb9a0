import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { FormatError, InvalidOptionError, OutputError } from '../../src/errors.js';
import { TorchRandom } from '../../src/tensor/random.js';
import {
  openSafetensors,
  readSafetensorsHeader,
  readTensor,
  SafetensorsWriter,
  writeSafetensors,
} from '../../src/tensor/safetensors.js';
import { axis, createTensor, slice, type Tensor } from '../../src/tensor/tensor.js';
import { goldenPath } from './goldens.js';

const folder = await mkdtemp(join(tmpdir(), 'reelspace-safetensors-'));
after(() => rm(folder, { recursive: true }));
const golden = goldenPath('dtypes.safetensors');

test('float types are read as the float32 numbers that torch makes of them', async () => {
  const file = await openSafetensors(golden);
  for (const type of ['f16', 'bf16']) {
    const [stored, widened] = [await file.read(type), await file.read(`${type}_as_f32`)];
    assert.deepEqual(stored.shape, [3, 4]);
    assert.deepEqual(stored, widened);
  }
  const { data } = await file.read('f32');
  assert.deepEqual([...data.subarray(0, 5)], [0, -0, 1, -2.5, 65504]);
  assert.deepEqual(await file.read('scalar'), createTensor([], Float32Array.of(0.75)));
  assert.deepEqual(await file.read('empty'), createTensor([0, 4]));
  await file.close();
});

test('integers are read as stored', async () => {
  const file = await openSafetensors(golden);
  assert.deepEqual(await file.readIntegers('i64'), {
    data: BigInt64Array.of(-(2n ** 53n) - 1n, 0n, 2n ** 62n),
    shape: [1, 3],
  });
  assert.deepEqual(await file.readIntegers('u8'), { data: Uint8Array.of(0, 7, 255), shape: [3] });
  await file.close();
});

test('a missing name, another type and a missing file each have their error', async () => {
  const file = await openSafetensors(golden);
  await assert.rejects(file.read('absent'), { name: 'FormatError', message: /holds no tensor named "absent"/ });
  await assert.rejects(file.read('f64'), { name: 'FormatError', message: /F32, F16 or BF16, got "F64"/ });
  await assert.rejects(file.readIntegers('f32'), FormatError);
  await file.close();
  await assert.rejects(openSafetensors(join(folder, 'none')), InvalidOptionError);
  await assert.rejects(openSafetensors(folder), InvalidOptionError);
});

test('the header tells names, types, shapes and metadata without reading data', async () => {
  const { entries, metadata } = await readSafetensorsHeader(golden);
  assert.deepEqual({ ...metadata }, { note: 'naïve ☃' });
  const { dtype, shape, byteLength } = entries.get('bf16') ?? assert.fail();
  assert.deepEqual({ dtype, shape, byteLength }, { dtype: 'BF16', shape: [3, 4], byteLength: 24 });
});

/** Returns the bytes of a file with that header text and that many data bytes. */
function fileBytes(json: string, dataBytes: number, claimedLength = BigInt(Buffer.byteLength(json))): Buffer {
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(claimedLength);
  return Buffer.concat([prefix, Buffer.from(json), Buffer.alloc(dataBytes)]);
}
const entry = (start: number, end: number, shape = `[${(end - start) / 4}]`, dtype = 'F32') =>
  `{"dtype":"${dtype}","shape":${shape},"data_offsets":[${start},${end}]}`;
const whole = `{"a":${entry(0, 8)}}`;

const broken: Record<string, Buffer> = {
  'no bytes': Buffer.alloc(0),
  'half a length': Buffer.alloc(5),
  'a header beyond the file': fileBytes(whole, 8, 10_000n),
  'a header length of 2^64-1': fileBytes(whole, 8, 2n ** 64n - 1n),
  'no JSON': fileBytes('{"a":', 8),
  'an array': fileBytes('[1]', 0),
  'bytes that are no UTF-8': Buffer.concat([fileBytes('', 0, 2n), Buffer.of(0xff, 0xfe)]),
  'a missing end': fileBytes(whole, 7),
  'bytes after the end': fileBytes(whole, 9),
  'an entry that is a number': fileBytes('{"a":3}', 0),
  'an unknown type': fileBytes(`{"a":${entry(0, 8, '[2]', 'F31')}}`, 8),
  'a type named like a method': fileBytes(`{"a":${entry(0, 8, '[2]', 'toString')}}`, 8),
  'a shape that needs more': fileBytes(`{"a":${entry(0, 8, '[3]')}}`, 8),
  'a shape of huge claims': fileBytes(`{"a":${entry(0, 8, '[4294967296,4294967296,4294967296]')}}`, 8),
  'a shape that overflows to nothing': fileBytes(`{"a":${entry(0, 0, `[${Array(30).fill(2 ** 50)},0]`)}}`, 0),
  'a negative length': fileBytes(`{"a":${entry(0, 8, '[-2]')}}`, 8),
  'a fraction': fileBytes(`{"a":${entry(0, 8, '[2.5]')}}`, 8),
  'offsets in reverse': fileBytes(`{"a":${entry(8, 0, '[2]')}}`, 8),
  'one offset': fileBytes('{"a":{"dtype":"F32","shape":[2],"data_offsets":[0]}}', 8),
  'an overlap': fileBytes(`{"a":${entry(0, 8)},"b":${entry(4, 12)}}`, 12),
  'a hole': fileBytes(`{"a":${entry(0, 8)},"b":${entry(12, 16)}}`, 16),
  'a start after the first byte': fileBytes(`{"a":${entry(4, 8)}}`, 8),
  'a name that comes twice': fileBytes(`{"a":${entry(0, 8)},"\\u0061":${entry(0, 8)}}`, 8),
  'a name without end': fileBytes(`{"${'a'.repeat(513)}":${entry(0, 8)}}`, 8),
  'a field that comes twice': fileBytes('{"a":{"dtype":"F32","shape":[1],"shape":[2],"data_offsets":[0,8]}}', 8),
  'lists in lists': fileBytes(`{"a":${'['.repeat(20_000)}${']'.repeat(20_000)}}`, 0),
  'a header of 17 MB': fileBytes(whole.padEnd(17_000_000), 8),
  'metadata that is no text': fileBytes(`{"__metadata__":{"x":1},"a":${entry(0, 8)}}`, 8),
};

for (const [name, bytes] of Object.entries(broken)) {
  test(`a file with ${name} is refused`, async () => {
    const path = join(folder, 'broken.safetensors');
    await writeFile(path, bytes);
    await assert.rejects(openSafetensors(path), FormatError);
  });
}

test('what looks odd but is allowed is read', async () => {
  const path = join(folder, 'odd.safetensors');
  const long = `"${'\\"x{:'.repeat(3_000_000)}"`;
  const json = `{"__metadata__":{"k\\"":${long}},"__proto__":${entry(8, 12)},"a" : ${entry(0, 8)}}   `;
  await writeFile(path, fileBytes(json, 12));
  const { entries, metadata } = await readSafetensorsHeader(path);
  assert.deepEqual([...entries.keys()], ['__proto__', 'a']);
  assert.equal(metadata['k"']?.length, 4 * 3_000_000);
});

test('tensors written are read back with their metadata, aligned to 8 bytes', async () => {
  const path = join(folder, 'pair.safetensors');
  const latents = new TorchRandom(1).normal([1, 2, 3, 2, 2]);
  const weights = createTensor([3], Float32Array.of(1, -0, Number.NaN));
  await writeSafetensors(path, { latents, weights }, { prompt: 'a red "kite" ☃' });
  assert.deepEqual(await readTensor(path, 'latents'), latents);
  assert.deepEqual(await readTensor(path, 'weights'), weights);
  const { entries, metadata } = await readSafetensorsHeader(path);
  assert.deepEqual({ ...metadata }, { prompt: 'a red "kite" ☃' });
  assert.equal((entries.get('latents')?.byteOffset ?? 1) % 8, 0);
});

async function write(
  path: string,
  latents: Tensor,
  cuts: readonly (readonly [number, number])[],
): Promise<SafetensorsWriter> {
  const writer = await SafetensorsWriter.create(path, { latents: latents.shape, seed: [1] });
  for (const [start, end] of cuts) await writer.write('latents', slice(latents, axis.time, start, end), start);
  await writer.write('seed', createTensor([1], Float32Array.of(5)));
  return writer;
}

test('slices along time, in any order, make the file that one write makes', async () => {
  const latents = new TorchRandom(2).normal([2, 3, 7, 2, 3]);
  const [sliced, atOnce] = [join(folder, 'sliced.safetensors'), join(folder, 'once.safetensors')];
  const writer = await write(sliced, latents, [
    [5, 7],
    [0, 1],
    [1, 5],
  ]);
  assert.ok(!(await readdir(folder)).includes('sliced.safetensors'));
  await writer.finish();
  await writer.abort();
  await writeSafetensors(atOnce, { latents, seed: createTensor([1], Float32Array.of(5)) });
  assert.deepEqual(await readFile(sliced), await readFile(atOnce));
});

test('finish refuses a file with a slice missing, and abort leaves nothing behind', async () => {
  const latents = new TorchRandom(2).normal([1, 1, 3, 2, 2]);
  const writer = await write(join(folder, 'gap.safetensors'), latents, [[0, 2]]);
  await assert.rejects(writer.finish(), { name: 'InvalidOptionError', message: /latents.*nothing at 2/ });
  await writer.abort();
  assert.deepEqual(
    (await readdir(folder)).filter((name) => name.startsWith('gap')),
    [],
  );
});

test('a part that does not fit is refused', async () => {
  const writer = await SafetensorsWriter.create(join(folder, 'fit.safetensors'), { latents: [1, 2, 3, 2, 2] });
  const part = createTensor([1, 2, 1, 2, 2]);
  for (const start of [3, -1, 0.5]) await assert.rejects(writer.write('latents', part, start), InvalidOptionError);
  await assert.rejects(writer.write('latents', createTensor([1, 2, 4, 2, 2])), InvalidOptionError);
  await assert.rejects(writer.write('latents', createTensor([1, 2, 1, 4])), InvalidOptionError);
  await assert.rejects(writer.write('other', part), InvalidOptionError);
  await writer.abort();
});

test('a folder that is not there is an output error, and an old file stays until the new one is whole', async () => {
  await assert.rejects(writeSafetensors(join(folder, 'none', 'x'), { x: createTensor([1]) }), OutputError);
  const path = join(folder, 'old.safetensors');
  await writeSafetensors(path, { x: createTensor([2]) });
  const before = await readFile(path);
  const writer = await SafetensorsWriter.create(path, { x: [9] });
  assert.deepEqual(await readFile(path), before);
  await writer.abort();
  assert.deepEqual(await readFile(path), before);
});
