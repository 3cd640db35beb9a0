// `npm run docs`: writes docs/cli.md.
import { writeFileSync } from 'node:fs';
import { commandReference } from './reference.js';

writeFileSync(new URL('../../../docs/cli.md', import.meta.url), commandReference());
