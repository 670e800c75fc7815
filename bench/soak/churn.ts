import type { DurationMs } from '../../src/clock.ts';
import type { Chance } from '../harness/chance.ts';
import { sleep } from './sleep.ts';
import type { World } from './world.ts';

/** Pods on the node at a time, from and to. */
const MIN_PODS = 28;
const MAX_PODS = 40;
const TICK: DurationMs = 250;
/** Mean time between pods that come or go, and between service accounts that are recreated. */
const POD_EVERY: DurationMs = 3_000;
const RECREATED_EVERY: DurationMs = 75_000;

/** Gives every service account an association and pods. */
export async function populate(world: World, chance: Chance): Promise<void> {
  for (const account of world.accounts) {
    await world.associate(account);
    // Nobody has asked yet, so there is no refusal that would have to be forgotten.
    account.usableFrom = Date.now();
    await world.createPod(account);
  }
  while (world.pods.length < MIN_PODS) await world.createPod(chance.pick(world.accounts));
}

/** The kubelet's and the cluster users' part: pods come and go, and their tokens rotate. */
export async function churn(world: World, chance: Chance, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await sleep(TICK, signal);
    for (const pod of world.pods) if (Date.now() >= pod.rotateAt) await world.rotate(pod);
    if (chance.is(TICK / POD_EVERY)) await comeOrGo(world, chance);
    if (chance.is(TICK / RECREATED_EVERY)) await world.recreate(chance.pick(world.accounts));
  }
}

async function comeOrGo(world: World, chance: Chance): Promise<void> {
  const { pods } = world;
  const comes = pods.length <= MIN_PODS || (pods.length < MAX_PODS && chance.is(0.5));
  if (comes) await world.createPod(chance.pick(world.accounts));
  else await world.deletePod(chance.pick(pods));
}
