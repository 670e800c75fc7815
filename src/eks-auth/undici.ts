import { createRequire } from 'node:module';
import type * as undici from 'undici';

// What the broker uses of undici, taken from its files one by one: the package's entry loads
// its caches (with SQLite), mocks, WebSocket and fetch as well, which costs each worker thread
// another 6 MB and 70 ms. The files are not a documented interface; should a new version move
// them, this is the one place to change (to `export { … } from 'undici'`).
const load = createRequire(import.meta.url);

const { prototype }: typeof undici.Dispatcher = load('undici/lib/dispatcher/dispatcher.js');
// `request`, `connect` and the like, which the entry puts there, and tunnels need.
Object.assign(prototype, load('undici/lib/api/index.js'));

export const Agent: typeof undici.Agent = load('undici/lib/dispatcher/agent.js');
export const Client: typeof undici.Client = load('undici/lib/dispatcher/client.js');
export const Pool: typeof undici.Pool = load('undici/lib/dispatcher/pool.js');
export const ProxyAgent: typeof undici.ProxyAgent = load('undici/lib/dispatcher/proxy-agent.js');
