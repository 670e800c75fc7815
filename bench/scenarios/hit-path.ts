import { Chance } from '../harness/chance.ts';
import { clusterFor } from '../harness/cluster.ts';
import { createPods } from '../harness/pods.ts';
import { checkAnswers } from '../harness/right-answers.ts';
import { loadWithAutocannon } from '../load/autocannon.ts';
import type { HttpLoad } from '../load/http-load.ts';
import { type Address, tryOnce } from '../load/one-try.ts';
import { loadWithWrk, wrkVersion } from '../load/wrk.ts';
import type { Bench, Scenario } from '../scenario.ts';
import type { HitSeries } from './hit-path-figures.ts';
import { hitPathReport } from './hit-path-report.ts';
import { askAll, type RunningServer, startServers } from './hit-path-servers.ts';
import { type HitServer, hitTurn } from './hit-path-turn.ts';

/** Whether connections are kept, or each carries one request. */
export const CONNECTIONS = ['keep-alive', 'close'] as const;

/** The cost of a hit, beside servers that do nothing else, and with more turned on. */
export const hitPath: Scenario = {
  name: 'hit-path',
  shows: 'what an answer from a session costs, beside a bare node:http server and nginx',
  async run(bench) {
    const { config, cores, peer } = bench;
    const plan = config['hit-path'];
    await using cluster = await clusterFor(bench);
    const { simulator } = cluster;
    const pods = await createPods(simulator, {
      pods: plan.tokens,
      serviceAccounts: plan.serviceAccounts,
    });
    await using running = await startServers(bench, simulator, pods);
    const { servers, body, missing } = running;
    const tokens = pods.map(({ token }) => token);
    const series: HitSeries[] = [];
    const load = wrkVersion() === undefined ? 'autocannon' : 'wrk';
    for (const connection of CONNECTIONS) {
      series.push(...(await inTurns(bench, servers, { tokens, connection, load })));
    }
    if (load === 'wrk') {
      const once = { tokens, connection: 'keep-alive', load: 'autocannon', rounds: 1 } as const;
      const plain = servers.filter(({ name }) => !['traced', 'redis', 'token'].includes(name));
      series.push(...(await inTurns(bench, plain, once)));
    }
    for (const { name, address } of servers) {
      if (name === 'bare' || name === 'nginx') continue;
      const who = name === 'peer' ? 'peer' : 'ours';
      await checkAnswers(simulator, await askAll(address, pods, who));
    }
    return hitPathReport(series, {
      tokenBytes: tokens[0]?.length ?? 0,
      bodyBytes: body.length,
      pinned: cores !== undefined,
      missing,
      peer: peer !== undefined,
    });
  },
};

interface Turns {
  readonly tokens: readonly string[];
  readonly connection: HttpLoad['connection'];
  readonly load: HitSeries['load'];
  /** Default as configured, after a warm-up. */
  readonly rounds?: number;
}

/**
 * Loads the servers in turn, A B C B A C …: in each round all of them in another order, so that none
 * always comes after the same other one, which leaves caches and closed connections behind. Beside a
 * peer it is A B A B.
 */
async function inTurns(
  { config, cores, peer, progress }: Bench,
  servers: readonly RunningServer[],
  { tokens, connection, load, rounds }: Turns,
): Promise<HitSeries[]> {
  const plan = config['hit-path'];
  const run = load === 'wrk' ? loadWithWrk : loadWithAutocannon;
  const loadOf = (target: Address, seconds: number): HttpLoad => ({
    target,
    tokens,
    connection,
    connections: plan.connections,
    duration: seconds * 1_000,
  });
  const known: HitServer[] = [];
  for (const server of servers) {
    // Once: by the second kind of connection it has been under load for all of the first. nginx
    // compiles nothing while it runs.
    if (rounds === undefined && connection === CONNECTIONS[0] && server.name !== 'nginx') {
      progress(`${connection}: ${server.name} warms up`);
      await run(loadOf(server.address, plan.warmUpSeconds));
    }
    const one = await tryOnce(server.address, tokens[0] ?? '', { patience: 10_000, connection });
    // A peer's answers need not be equally long.
    const counted = load === 'wrk' && server.name !== 'peer';
    known.push({ ...server, answerBytes: counted ? one.bytes : undefined });
  }
  const series = known.map(
    ({ name }): HitSeries => ({ server: name, connection, load, turns: [] }),
  );
  const all = rounds ?? plan.rounds;
  const chance = new Chance(config.seed, 'hit-path');
  for (let round = 1; round <= all; round += 1) {
    const turns = [...known.entries()];
    for (const [index, server] of peer === undefined ? chance.shuffled(turns) : turns) {
      const turn = await hitTurn(server, loadOf(server.address, plan.turnSeconds), run, cores);
      series[index]?.turns.push(turn);
      const rate = Math.round(turn.requestsPerSecond);
      progress(`${connection}, ${load}, round ${round} of ${all}: ${server.name} ${rate}/s`);
    }
  }
  return series;
}
