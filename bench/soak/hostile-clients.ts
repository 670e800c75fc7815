import { generateKeyPairSync, randomBytes, sign } from 'node:crypto';
import { connect } from 'node:net';
import type { DurationMs } from '../../src/clock.ts';
import type { Chance } from '../harness/chance.ts';
import { askForCredentials } from './ask.ts';
import type { Findings } from './findings.ts';
import { sleep } from './sleep.ts';
import type { Tally } from './tally.ts';
import type { World } from './world.ts';

/** Between two requests of one client, on average. */
const PAUSE: DurationMs = 150;
/** How often a client sends many at once, and how many. */
const BURST = { probability: 0.01, size: 40 };
/** Unknown key ids make the broker ask for keys, so they come in every other minute. */
const UNKNOWN_KEYS_EVERY: DurationMs = 60_000;
/** How long the connection of a malformed request stays open, from and to. */
const STAYS: readonly [DurationMs, DurationMs] = [10, 8_000];

/** The name of the pod of which made-up tokens speak. */
const FORGED_POD = 'made-up';

/** Whether a call was made with a token that was made up from scratch. */
export function isForged(pod: string | undefined): boolean {
  return pod === FORGED_POD;
}

/** Beginnings of requests that are never finished, and things that are no requests. */
const MALFORMED: readonly string[] = [
  '',
  'GET /v1/credentials HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: eyJ',
  'GET /v1/credentials HTTP/1.1\r\n',
  'POST /v1/credentials HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100000\r\n\r\nx',
  'GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n'.repeat(20),
  'GET /v1/credentials HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n',
  '\u0016\u0003\u0001\u0002\u0000\u0001',
  `GET /${'a'.repeat(20_000)} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`,
];

/** What {@link HostileClients} are made from. */
export interface HostileClientsOptions {
  readonly port: number;
  readonly world: World;
  readonly chance: Chance;
  readonly tally: Tally;
  readonly findings: Findings;
}

/** Whoever else reaches the port: with forged tokens, or with what is no request. */
export class HostileClients {
  readonly #options: HostileClientsOptions;
  readonly #key = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
  /** Malformed or unfinished requests so far. */
  malformed = 0;

  constructor(options: HostileClientsOptions) {
    this.#options = options;
  }

  /** Sends forged tokens until it is told to stop. */
  async sendForgedTokens(address: string, signal: AbortSignal): Promise<void> {
    const { chance } = this.#options;
    while (!signal.aborted) {
      const many = chance.is(BURST.probability) ? BURST.size : 1;
      await Promise.all(Array.from({ length: many }, () => this.#send(address)));
      await sleep(chance.between(0, 2 * PAUSE), signal);
    }
  }

  /** Sends malformed and unfinished requests until it is told to stop. */
  async sendMalformedRequests(address: string, signal: AbortSignal): Promise<void> {
    const { chance, port } = this.#options;
    while (!signal.aborted) {
      this.malformed += 1;
      const socket = connect({ host: '127.0.0.1', port, localAddress: address });
      socket.on('error', () => undefined);
      socket.resume();
      socket.write(chance.is(0.2) ? randomBytes(200) : chance.pick(MALFORMED));
      const cut = setTimeout(
        () => (chance.is(0.5) ? socket.resetAndDestroy() : socket.destroy()),
        chance.between(...STAYS),
      );
      socket.on('close', () => clearTimeout(cut));
      await sleep(chance.between(0, 2 * PAUSE), signal);
    }
  }

  async #send(from: string): Promise<void> {
    const { port, tally, findings } = this.#options;
    const { kind, token } = this.#forged();
    const reply = await askForCredentials({ port, token, from });
    tally.add(reply);
    if (reply.status === 200) findings.add(`wrong answer: to a forged token (${kind})`, { kind });
  }

  #forged(): { kind: string; token: string } {
    const { chance, world } = this.#options;
    const { token } = chance.pick(world.pods);
    const [header = '', claims = '', signature = ''] = token.text.split('.');
    const unknown = Math.floor(performance.now() / UNKNOWN_KEYS_EVERY) % 2 === 1 && chance.is(0.05);
    const kind = unknown
      ? 'unknown key'
      : chance.pick(['foreign key', 'altered claims', 'altered signature', 'none', 'cut', 'swap']);
    switch (kind) {
      case 'unknown key':
      case 'foreign key': {
        const kid = unknown ? randomBytes(20).toString('hex') : token.kid;
        return { kind, token: this.#signed({ alg: 'ES256', kid }, madeUp(claims)) };
      }
      case 'altered claims':
        return { kind, token: `${header}.${encode(madeUp(claims))}.${signature}` };
      case 'altered signature':
        return { kind, token: `${header}.${claims}.${signature.slice(0, -12)}${'A'.repeat(12)}` };
      case 'none':
        return { kind, token: `${encode({ alg: 'none', kid: token.kid })}.${claims}.` };
      case 'swap': {
        const other = chance.pick(world.pods.filter((pod) => pod.token !== token)).token;
        return { kind, token: `${header}.${claims}.${other.text.split('.')[2]}` };
      }
      default:
        return { kind, token: token.text.slice(0, chance.whole(1, token.text.length - 1)) };
    }
  }

  #signed(header: object, claims: object): string {
    const input = `${encode(header)}.${encode(claims)}`;
    const signature = sign('sha256', Buffer.from(input), {
      key: this.#key,
      dsaEncoding: 'ieee-p1363',
    });
    return `${input}.${signature.toString('base64url')}`;
  }
}

/** The claims of another pod of the same service account, which does not exist. */
function madeUp(claims: string): object {
  const said = JSON.parse(Buffer.from(claims, 'base64url').toString());
  const kubernetes = said['kubernetes.io'];
  const pod = { name: FORGED_POD, uid: kubernetes.pod.uid };
  return { ...said, 'kubernetes.io': { ...kubernetes, pod } };
}

function encode(part: object): string {
  return Buffer.from(JSON.stringify(part)).toString('base64url');
}
