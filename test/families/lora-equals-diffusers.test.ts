// What diffusers made with LoRAs merged into toy pipelines, against the same runs of their exports.
import assert from 'node:assert/strict';
import { familiesIn } from './compare.js';
import { familyFixtures } from './fixtures.js';
import { holdToDiffusers } from './hold.js';

const withLoras = familiesIn(familyFixtures).filter((family) => family.endsWith('-loras'));
assert.ok(withLoras.length > 0);
for (const family of withLoras) await holdToDiffusers(family);
