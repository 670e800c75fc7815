import type { DurationMs, EpochMs } from '../../src/clock.ts';
import type { AuditEvent } from '../../src/simulator/audit.ts';
import type { RemoteSimulator } from '../../src/simulator/control-client.ts';
import type { Chance } from '../harness/chance.ts';
import type { Gate } from './gate.ts';
import type { Health } from './health.ts';
import { sleep } from './sleep.ts';
import type { World } from './world.ts';

/** How long a key signs, from and to. */
const SIGNS: readonly [DurationMs, DurationMs] = [50_000, 80_000];
/** How long a key that signs already takes to be published, where it lags. */
const LAGS: readonly [DurationMs, DurationMs] = [1_000, 8_000];
/** How long the key before stays published, at the least. */
const OVERLAP: readonly [DurationMs, DurationMs] = [10_000, 25_000];
/** After an unknown key the broker asks for keys at most every 30 s; and it takes its time. */
const NOTICED_WITHIN: DurationMs = 40_000;
/** From the issuer's answer until the broker goes by it. */
const TAKES_EFFECT: DurationMs = 1_000;
const TICK: DurationMs = 500;

/** One of the issuer's keys, and what the broker can know of it. */
interface KeyLife {
  readonly publishedAt: EpochMs;
  /** Nobody counts on it any more. */
  retiredAt: EpochMs;
  withdrawnAt: EpochMs;
  /** The broker has been given a key set with it. */
  knownFrom: EpochMs;
  /** The broker has been given a key set from which it had been withdrawn. */
  droppedFrom: EpochMs;
}

/** What {@link Keys} is made from. */
export interface KeysOptions {
  readonly simulator: RemoteSimulator;
  readonly gate: Gate;
  readonly world: World;
  readonly chance: Chance;
  /** The issuer's. */
  readonly health: Health;
}

/** Rotates and withdraws the issuer's keys, and keeps account of what the broker knows. */
export class Keys {
  readonly #options: KeysOptions;
  readonly #lives = new Map<string, KeyLife>();
  rotations = 0;
  /** The id of the key that signs from the beginning. */
  first = '';

  constructor(options: KeysOptions) {
    this.#options = options;
  }

  /** Notes which key signs from the beginning. */
  async begin(): Promise<void> {
    const { simulator, gate } = this.#options;
    const { current } = await gate.pass(() => simulator.issuerKeys.jwks());
    this.first = current;
    this.#published(current, Date.now());
  }

  /** Works until it is told to stop. */
  async run(signal: AbortSignal): Promise<void> {
    const { simulator, gate, chance, world } = this.#options;
    let before = (await gate.pass(() => simulator.issuerKeys.jwks())).current;
    for (;;) {
      await sleep(chance.between(...SIGNS), signal);
      if (signal.aborted) return;
      const publish = chance.is(0.7);
      const algorithm = chance.pick(['RS256', 'ES256'] as const);
      const kid = await gate.pass(() => simulator.issuerKeys.rotate({ algorithm, publish }));
      this.rotations += 1;
      if (!publish) {
        await sleep(chance.between(...LAGS), signal);
        await gate.pass(() => simulator.issuerKeys.publish());
      }
      this.#published(kid, Date.now());
      await sleep(chance.between(...OVERLAP), signal);
      // A set that shares no key with the one before would have to prove itself anew.
      while (!signal.aborted && this.#life(kid).knownFrom > Date.now()) await sleep(TICK, signal);
      if (signal.aborted) return;
      for (const pod of world.pods) if (pod.token.kid !== kid) await world.rotate(pod);
      const withdrawn = before;
      this.#life(withdrawn).retiredAt = Date.now();
      await gate.pass(() => simulator.issuerKeys.withdraw(withdrawn));
      this.#life(withdrawn).withdrawnAt = Date.now();
      before = kid;
    }
  }

  /** Takes note of a call to the issuer. */
  observe({ service, operation, status, errorCode, time, duration }: AuditEvent): void {
    if (service !== 'issuer' || operation !== 'GetKeys') return;
    if (status !== 200 || errorCode !== undefined) return;
    const from = time + duration + TAKES_EFFECT;
    for (const life of this.#lives.values()) {
      if (time >= life.publishedAt) life.knownFrom = Math.min(life.knownFrom, from);
      if (time >= life.withdrawnAt) life.droppedFrom = Math.min(life.droppedFrom, from);
    }
  }

  /** Whether a pod with a token of this key can count on it: broker and EKS Auth know the key. */
  isGood(kid: string, now: EpochMs): boolean {
    const life = this.#lives.get(kid);
    if (life === undefined || now >= life.retiredAt) return false;
    const noticed = Math.max(life.publishedAt, this.#options.health.wellFrom) + NOTICED_WITHIN;
    return now >= Math.min(life.knownFrom, noticed);
  }

  /** Whether the broker must not believe this key any more. */
  isDropped(kid: string, now: EpochMs): boolean {
    return now >= (this.#lives.get(kid)?.droppedFrom ?? Number.POSITIVE_INFINITY);
  }

  #published(kid: string, publishedAt: EpochMs): void {
    const never = Number.POSITIVE_INFINITY;
    this.#lives.set(kid, {
      publishedAt,
      retiredAt: never,
      withdrawnAt: never,
      knownFrom: never,
      droppedFrom: never,
    });
  }

  #life(kid: string): KeyLife {
    const life = this.#lives.get(kid);
    if (life === undefined) throw new TypeError(`no such key: ${kid}`);
    return life;
  }
}
