import api from 'undici/lib/api/index.js';
import Agent from 'undici/lib/dispatcher/agent.js';
import Client from 'undici/lib/dispatcher/client.js';
import Dispatcher from 'undici/lib/dispatcher/dispatcher.js';
import Pool from 'undici/lib/dispatcher/pool.js';
import ProxyAgent from 'undici/lib/dispatcher/proxy-agent.js';

// What the broker uses of undici, taken from its files one by one: the package's entry loads
// its caches (with SQLite), mocks, WebSocket and fetch as well, which costs each worker thread
// another 6 MB and 70 ms. The files are not a documented interface; should a new version move
// them, this is the one place to change (to `export { … } from 'undici'`).

// `request`, `connect` and the like, which the entry puts there, and tunnels need.
Object.assign(Dispatcher.prototype, api);

export { Agent, Client, Pool, ProxyAgent };
