import type { DurationMs, EpochMs } from '../../src/clock.ts';
import { askBroker } from '../../src/listener/admin-client.ts';
import type { RemoteSimulator } from '../../src/simulator/control-client.ts';
import type { Chance } from '../harness/chance.ts';
import type { Gate } from './gate.ts';
import { sleep } from './sleep.ts';
import type { Account, World } from './world.ts';

const TICK: DurationMs = 500;
const FLUSHED_EVERY: DurationMs = 12_000;
const CHANGED_EVERY: DurationMs = 20_000;
/** How long a service account goes without what it needs, from and to. */
const AWAY: readonly [DurationMs, DurationMs] = [2_000, 15_000];

/** A trust policy without `sts:TagSession`: the commonest mistake. */
const TOO_LITTLE_TRUST = {
  Version: '2012-10-17',
  Statement: [
    {
      Effect: 'Allow',
      Principal: { Service: 'pods.eks.amazonaws.com' },
      Action: 'sts:AssumeRole',
    },
  ],
};

/** A flush of the operator's: from when it was asked for until it was confirmed. */
export interface Flush {
  readonly from: EpochMs;
  readonly to: EpochMs;
  /** Neither: everybody's sessions. */
  readonly namespace?: string;
  readonly serviceAccount?: string;
}

/** Whether a flush is about the sessions of a service account. */
export function covers(
  { namespace, serviceAccount }: Flush,
  account: { readonly namespace: string; readonly name: string },
): boolean {
  return (
    (namespace ?? account.namespace) === account.namespace &&
    (serviceAccount ?? account.name) === account.name
  );
}

/** What {@link Operator} is made from. */
export interface OperatorOptions {
  readonly simulator: RemoteSimulator;
  readonly gate: Gate;
  readonly world: World;
  readonly chance: Chance;
  readonly adminSocket: string;
}

/** Flushes sessions, and changes, takes away and gives back what service accounts may do. */
export class Operator {
  readonly #options: OperatorOptions;
  readonly flushes: Flush[] = [];
  #changes = 0;

  constructor(options: OperatorOptions) {
    this.#options = options;
  }

  /** Works until it is told to stop, and mends what it has broken. */
  async run(signal: AbortSignal): Promise<void> {
    const { chance, world } = this.#options;
    const away = new Set<Account>();
    const mending: Promise<void>[] = [];
    while (!signal.aborted) {
      await sleep(TICK, signal);
      if (chance.is(TICK / FLUSHED_EVERY)) await this.#flush();
      if (!chance.is(TICK / CHANGED_EVERY)) continue;
      const account = chance.pick(world.accounts);
      if (away.has(account)) continue;
      away.add(account);
      mending.push(this.#change(account, signal).finally(() => away.delete(account)));
    }
    await Promise.all(mending);
  }

  async #flush(): Promise<void> {
    const { adminSocket, chance, world } = this.#options;
    const { namespace, name } = chance.pick(world.accounts);
    const chosen = chance.pick([{}, { namespace }, { namespace, serviceAccount: name }]);
    const from = Date.now();
    await askBroker(adminSocket, 'POST', '/flush', chosen);
    this.flushes.push({ from, to: Date.now(), ...chosen });
  }

  async #change(account: Account, signal: AbortSignal): Promise<void> {
    const { chance, world } = this.#options;
    switch (chance.pick(['other role', 'no association', 'no trust'] as const)) {
      case 'other role':
        return await this.#otherRole(account);
      case 'no association':
        await world.dissociate(account);
        await sleep(chance.between(...AWAY), signal);
        return await world.associate(account);
      case 'no trust':
        await this.#trust(account, TOO_LITTLE_TRUST);
        await sleep(chance.between(...AWAY), signal);
        await this.#trust(account, undefined);
        return world.usableAgain(account);
    }
  }

  async #otherRole(account: Account): Promise<void> {
    const { simulator, gate, world } = this.#options;
    const { associationId } = account;
    if (associationId === undefined) return;
    this.#changes += 1;
    const roleArn = world.roleArn(`${account.name}-${this.#changes}`);
    await gate.pass(() => simulator.associations.update(associationId, { roleArn }));
    account.roleArn = roleArn;
  }

  async #trust(account: Account, policy: typeof TOO_LITTLE_TRUST | undefined): Promise<void> {
    const { simulator, gate } = this.#options;
    if (policy !== undefined) account.usableFrom = Number.POSITIVE_INFINITY;
    await gate.pass(() => simulator.roles.put(account.roleArn, policy));
  }
}
