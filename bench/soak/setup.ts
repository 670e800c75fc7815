import type { DurationMs } from '../../src/clock.ts';
import type { RemoteSimulator } from '../../src/simulator/control-client.ts';
import { ISSUER_FAULTS } from '../../src/simulator/faults.ts';
import { Chance } from '../harness/chance.ts';
import { startCluster } from '../harness/cluster.ts';
import { AnswerCheck } from './answer-check.ts';
import { AuditFeed } from './audit-feed.ts';
import { startSoakBroker } from './broker.ts';
import { Calls } from './calls.ts';
import { Clients } from './clients.ts';
import { CredentialCheck } from './credential-check.ts';
import { EKS_AUTH_TROUBLES, eksAuthTrouble, WELL } from './eks-auth-troubles.ts';
import { Expectations } from './expectations.ts';
import { Findings } from './findings.ts';
import { Gate } from './gate.ts';
import { Health } from './health.ts';
import { HostileClients, isForged } from './hostile-clients.ts';
import { issuerTrouble } from './issuer-troubles.ts';
import { Keys } from './keys.ts';
import { Memory } from './memory.ts';
import { Operator } from './operator.ts';
import type { SoakOptions } from './options.ts';
import { Tally } from './tally.ts';
import { type Timing, timingOf } from './timing.ts';
import { Troubles } from './troubles.ts';
import { World } from './world.ts';

/** How long EKS Auth takes to see a change of an association. */
const ASSOCIATION_DELAY: DurationMs = 1_500;
/** The longest that a recovery is waited for in a brief run, which checks little. */
const BRIEF_RECOVERY: DurationMs = 1_000;
/** Between troubles of the issuer. */
const ISSUER_APART: readonly [DurationMs, DurationMs] = [15_000, 40_000];

/** Everything that takes part in a run. */
export type SoakSetup = Awaited<ReturnType<typeof setUp>>;

/**
 * Starts the simulated cluster and the broker, each as a process, and gets everybody else
 * ready; nobody has done anything yet.
 *
 * @param clients - Ends the pods' clients.
 */
export async function setUp({ seed, duration }: SoakOptions, clients: AbortSignal) {
  const timing = timingOf(duration);
  const chance = (part: string) => new Chance(seed, part);
  const clockOffset = chance('clock').pick([0, 0, 0, 30_000, -30_000]);
  const stack = new AsyncDisposableStack();
  try {
    const cluster = await startCluster({
      seed,
      clockOffset,
      keyAlgorithm: 'ES256',
      sessionLifetime: timing.sessionLifetime,
      chainedSessionLifetime: timing.chainedSessionLifetime,
    });
    stack.use(cluster);
    const { simulator } = cluster;
    await simulator.eksAuth.set(WELL);
    const gate = new Gate();
    const findings = new Findings();
    const eksAuthHealth = new Health();
    const issuerHealth = new Health();
    const pods = new Tally();
    const forgedTally = new Tally();

    const world: World = new World({
      simulator,
      gate,
      chance: chance('world'),
      associationDelay: ASSOCIATION_DELAY,
      clockOffset,
      onPod: (pod) => podClients.start(pod),
    });
    const keys = new Keys({ simulator, gate, world, chance: chance('keys'), health: issuerHealth });
    await keys.begin();
    const broker = stack.use(await startSoakBroker(simulator, timing));

    const operator = new Operator({
      simulator,
      gate,
      world,
      chance: chance('operator'),
      adminSocket: broker.adminSocket,
    });
    const credentialCheck = new CredentialCheck({ simulator, gate, findings, clockOffset });
    const answerCheck = new AnswerCheck({
      findings,
      keys,
      flushes: operator.flushes,
      clockOffset,
      onFirstServed: (served) => credentialCheck.check(served),
    });
    const expectations = new Expectations({ eksAuth: eksAuthHealth, keys, clockOffset });
    const podClients = new Clients({
      port: broker.address.port,
      seed,
      answerCheck,
      expectations,
      tally: pods,
      findings,
      signal: clients,
    });
    const hostileClients = new HostileClients({
      port: broker.address.port,
      world,
      chance: chance('hostile clients'),
      tally: forgedTally,
      findings,
    });
    const calls = new Calls();
    const feed = new AuditFeed(simulator, gate, (events, until) => {
      for (const event of events) {
        keys.observe(event);
        answerCheck.observe(event);
        calls.observe(event, isForged);
      }
      answerCheck.checkUntil(until);
    });
    return {
      timing,
      clockOffset,
      simulator,
      /** Changes of associations take their time from then on. */
      delayAssociations: () => simulator.eksAuth.set({ associationDelay: ASSOCIATION_DELAY }),
      broker,
      world,
      keys,
      operator,
      answerCheck,
      podClients,
      hostileClients,
      credentialCheck,
      calls,
      feed,
      findings,
      eksAuthHealth,
      pods,
      forgedTally,
      churnChance: chance('churn'),
      memory: new Memory(broker.process.pid),
      ...troubles({ simulator, gate, world, chance, timing, eksAuthHealth, issuerHealth }),
      [Symbol.asyncDispose]: () => stack.disposeAsync(),
    };
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
}

interface TroubleParts {
  readonly simulator: RemoteSimulator;
  readonly gate: Gate;
  readonly world: World;
  readonly chance: (part: string) => Chance;
  readonly timing: Timing;
  readonly eksAuthHealth: Health;
  readonly issuerHealth: Health;
}

function troubles({ eksAuthHealth, issuerHealth, ...parts }: TroubleParts) {
  const { simulator, gate, world, chance, timing } = parts;
  const eksAuthChance = chance('EKS Auth');
  const issuerChance = chance('issuer');
  const times = {
    lasts: timing.trouble,
    longestRecovery: timing.brief ? BRIEF_RECOVERY : Number.POSITIVE_INFINITY,
  };
  return {
    eksAuthTroubles: new Troubles({
      ...times,
      kinds: EKS_AUTH_TROUBLES,
      make: (kind) =>
        eksAuthTrouble(kind, {
          simulator,
          gate,
          world,
          chance: eksAuthChance,
          timing,
          issuerHealth,
        }),
      chance: eksAuthChance,
      health: eksAuthHealth,
      quietAtFirst: timing.warmUp,
      apart: timing.health,
    }),
    issuerTroubles: new Troubles({
      ...times,
      kinds: ISSUER_FAULTS,
      make: (kind) => issuerTrouble(kind, simulator, gate, issuerChance),
      chance: issuerChance,
      health: issuerHealth,
      quietAtFirst: timing.warmUp * 1.5,
      apart: timing.brief ? timing.health : ISSUER_APART,
    }),
  };
}
