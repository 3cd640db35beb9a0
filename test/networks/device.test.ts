import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DeviceError } from '../../src/errors.js';
import { deviceFor, listDevices, resolveDevice } from '../../src/networks/device.js';
import { devices } from '../../src/networks/model.js';

test('the CPU is there, and what is absent says why and what to do', async () => {
  const listing = await listDevices();
  assert.deepEqual(
    listing.map(({ device }) => device),
    [...devices],
  );
  assert.match(listing[0]?.detail ?? '', /\d+ threads/);
  assert.equal(listing[0]?.available, true);
  for (const { device, available, detail } of listing) {
    if (available) continue;
    assert.match(detail, /[Uu]se the device cpu\./, device);
    await assert.rejects(resolveDevice(device), (error) => {
      assert.ok(error instanceof DeviceError);
      assert.match(error.message, new RegExp(`^The device ${device} can't be used: .*use the device cpu\\.$`, 'i'));
      assert.doesNotMatch(error.message, /onnxruntime_src|\n/);
      return true;
    });
  }
});

test('auto chooses a device that works, and says why', async () => {
  const choice = await resolveDevice('auto');
  assert.ok(choice.device === 'cpu' || choice.device === 'webgpu');
  assert.match(choice.reason, /no GPU|WebGPU/);
  assert.deepEqual(await resolveDevice(choice.device), { device: choice.device, reason: 'it was asked for' });
});

test('an unknown device is refused with the known ones', async () => {
  await assert.rejects(resolveDevice('npu' as 'cpu'), (error) => {
    assert.ok(error instanceof DeviceError);
    assert.match(error.message, /Expected device to be auto or one of cpu, webgpu, .*, got "npu"/);
    return true;
  });
});

test('a model written for one device runs there, and is refused elsewhere', () => {
  const choice = { device: 'webgpu', reason: 'it was asked for' } as const;
  assert.deepEqual(deviceFor({ name: 'wan' }, 'webgpu', choice), choice);
  const reason = "the model's graphs were written for it";
  assert.deepEqual(deviceFor({ name: 'wan', device: 'cpu' }, 'auto', choice), { device: 'cpu', reason });
  const asked = { device: 'cpu', reason: 'it was asked for' } as const;
  assert.deepEqual(deviceFor({ name: 'wan', device: 'cpu' }, 'cpu', asked), asked);
  assert.throws(() => deviceFor({ name: 'wan', device: 'cpu' }, 'webgpu', choice), {
    name: 'DeviceError',
    message:
      /^Expected device to be cpu, which the graphs of model "wan" were written for, got webgpu\. Use cpu, or export/,
  });
});
