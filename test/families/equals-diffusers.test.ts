// What diffusers made with a toy pipeline of each family, against the same runs of its export.
import { familiesIn } from './compare.js';
import { familyFixtures } from './fixtures.js';
import { holdToDiffusers } from './hold.js';

for (const family of familiesIn(familyFixtures)) if (!family.endsWith('-loras')) await holdToDiffusers(family);
