import { readFileSync } from 'node:fs';
import { BroadcastChannel, isMainThread } from 'node:worker_threads';

// Loaded into a broker (`--import`) before it starts: on SIGUSR2, what no dependency should do is
// done to it. The file that SABOTAGE names says what, and to which thread. JavaScript, so that no
// thread of the built program takes time for types.

/** @type {Record<string, () => void>} */
const acts = {
  throw: () => {
    setImmediate(() => {
      throw new Error('thrown by a dependency');
    });
  },
  reject: () => void Promise.reject(new Error('rejected by a dependency')),
  // Once, for whoever asks next without a session that is there; where the sources are run.
  request: () => {
    void import('../../src/sessions/credential-requests.ts').then(({ CredentialRequests }) => {
      const { obtain } = CredentialRequests.prototype;
      CredentialRequests.prototype.obtain = () => {
        CredentialRequests.prototype.obtain = obtain;
        return Promise.reject(new Error('thrown by a dependency'));
      };
    });
  },
  exit: () => process.exit(7),
  hang: () => {
    for (;;);
  },
  memory: () => {
    for (const held = []; ; ) held.push(new Array(1_000_000).fill(held.length + 0.5));
  },
};

const channel = new BroadcastChannel('sabotage');
channel.unref();
if (isMainThread) {
  process.on('SIGUSR2', () => {
    const [thread, act = ''] = readFileSync(process.env.SABOTAGE ?? '', 'utf8').split(' ');
    if (thread === 'main') acts[act]?.();
    else channel.postMessage(act);
  });
} else {
  channel.onmessage = ({ data }) => acts[String(data)]?.();
}
