// Serves the small repository until it is ended, for models/goldens/make_hub_cache.py: node dist/test/hub/serve.js
import { HubServer } from './hub-server.js';
import { smallRepository } from './small-repository.js';

console.log((await HubServer.start(smallRepository)).url);
