// A program that opens networks, makes one call fail, and ends without closing anything. Prints the error's code.
import { openSession } from '../../src/networks/open-session.js';
import { causalShapes, counting, fixture, floats } from './fixtures.js';

const causal = await openSession(fixture('causal.onnx'), { device: 'cpu' });
const stream = await causal.openStream(causalShapes.states);
await stream.run({ x: causalShapes.whole });
const reshape = await openSession(fixture('reshape.onnx'), { device: 'cpu' });
try {
  await reshape.run({ x: floats([5], counting(5)) });
} catch (error) {
  console.log((error as { code: string }).code);
}
