import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { RemotePod } from '../../src/simulator/control-client.ts';
import { BrokenRunError } from '../harness/broken-run.ts';
import { startBroker } from '../harness/broker.ts';
import { type Child, freePort, ready, startChild } from '../harness/child.ts';
import { clusterFor } from '../harness/cluster.ts';
import { createPods, inParallel } from '../harness/pods.ts';
import { checkAnswers, type PodAnswer } from '../harness/right-answers.ts';
import { loadWithAutocannon } from '../load/autocannon.ts';
import type { HttpLoad } from '../load/http-load.ts';
import { type Address, tryOnce } from '../load/one-try.ts';
import { loadWithWrk, wrkVersion } from '../load/wrk.ts';
import type { Bench, Scenario } from '../scenario.ts';
import { nginxVersion, startNginx } from '../servers/nginx.ts';
import { hitPathReport } from './hit-path-report.ts';
import { type HitServer, type HitTurn, hitTurn } from './hit-path-turn.ts';

/** Whether connections are kept, or each carries one request. */
export const CONNECTIONS = ['keep-alive', 'close'] as const;

/** All turns of a server with one kind of connection. */
export interface HitSeries {
  readonly server: string;
  readonly connection: HttpLoad['connection'];
  /** What made the load. */
  readonly load: 'wrk' | 'autocannon';
  readonly turns: HitTurn[];
}

/** The cost of a hit, beside servers that do nothing else. */
export const hitPath: Scenario = {
  name: 'hit-path',
  shows: 'what an answer from a session costs, beside a bare node:http server and nginx',
  async run(bench) {
    const { config, cores, program } = bench;
    const plan = config['hit-path'];
    const core = cores?.target;
    await using cluster = await clusterFor(bench);
    await using broker = await startBroker(cluster.simulator, {
      program,
      core,
      // All of the load comes from one address. Its budget is counted, and never used up.
      env: { POD_IDENTITY_BROKER_MAX_POD_QPS: '1000000' },
    });
    const pods = await createPods(cluster.simulator, {
      pods: plan.tokens,
      serviceAccounts: plan.serviceAccounts,
    });
    const answers = await askAll(broker.address, pods);
    await checkAnswers(cluster.simulator, answers);
    const bodies = Object.fromEntries(answers.map(({ pod, body }) => [pod.token, body]));
    await using bare = await startBare(bodies, core);
    const body = answers[0]?.body ?? '';
    await using nginx = nginxVersion() === undefined ? undefined : await startNginx(body, core);

    const servers = [
      { name: 'broker', address: broker.address, pid: broker.pid },
      { name: 'bare', address: bare.address, pid: bare.child.pid },
      ...(nginx === undefined ? [] : [{ name: 'nginx', address: nginx.address, pid: nginx.pid }]),
      ...(bench.peer === undefined
        ? []
        : [{ name: 'peer', address: bench.peer.address, pid: undefined }]),
    ];
    if (bench.peer !== undefined) {
      await checkAnswers(cluster.simulator, await askAll(bench.peer.address, pods));
    }
    const tokens = pods.map(({ token }) => token);
    const series: HitSeries[] = [];
    const load = wrkVersion() === undefined ? 'autocannon' : 'wrk';
    for (const connection of CONNECTIONS) {
      series.push(...(await inTurns(bench, servers, { tokens, connection, load })));
    }
    if (load === 'wrk') {
      const once = { tokens, connection: 'keep-alive', load: 'autocannon', rounds: 1 } as const;
      series.push(...(await inTurns(bench, servers, once)));
    }
    await checkAnswers(cluster.simulator, await askAll(broker.address, pods));
    return hitPathReport(series, {
      tokenBytes: tokens[0]?.length ?? 0,
      bodyBytes: body.length,
      pinned: cores !== undefined,
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

/** Loads the servers in turn, A B C A B C … */
async function inTurns(
  { config, cores, progress }: Bench,
  servers: readonly Omit<HitServer, 'answerBytes'>[],
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
    if (rounds === undefined) {
      progress(`${connection}: ${server.name} warms up`);
      await run(loadOf(server.address, plan.warmUpSeconds));
    }
    const one = await tryOnce(server.address, tokens[0] ?? '', { patience: 10_000, connection });
    known.push({ ...server, answerBytes: load === 'wrk' ? one.bytes : undefined });
  }
  const series = known.map(
    ({ name }): HitSeries => ({ server: name, connection, load, turns: [] }),
  );
  const all = rounds ?? plan.rounds;
  for (let round = 1; round <= all; round += 1) {
    for (const [index, server] of known.entries()) {
      const turn = await hitTurn(server, loadOf(server.address, plan.turnSeconds), run, cores);
      series[index]?.turns.push(turn);
      const rate = Math.round(turn.requestsPerSecond);
      progress(`${connection}, ${load}, round ${round} of ${all}: ${server.name} ${rate}/s`);
    }
  }
  return series;
}

/** Every pod asks once, and has to be answered. */
async function askAll(target: Address, pods: readonly RemotePod[]): Promise<PodAnswer[]> {
  return await inParallel(pods.length, async (index) => {
    const pod = pods[index] as RemotePod;
    const { status, body, failure } = await tryOnce(target, pod.token, { patience: 10_000 });
    if (status !== 200)
      throw new BrokenRunError(`a pod was answered ${status}: ${failure ?? body}`);
    return { pod, body };
  });
}

async function startBare(bodies: Readonly<Record<string, string>>, core: number | undefined) {
  const directory = mkdtempSync(join(tmpdir(), 'broker-bench-bare-'));
  const file = join(directory, 'bodies.json');
  writeFileSync(file, JSON.stringify(bodies), { mode: 0o600 });
  const program = fileURLToPath(new URL('../servers/bare.ts', import.meta.url));
  const address = { host: '127.0.0.1', port: await freePort() };
  const child: Child = startChild([process.execPath, program, String(address.port), file], {
    core,
  });
  const [token = ''] = Object.keys(bodies);
  await ready(child, 'the bare server', async () => {
    const { status } = await tryOnce(address, token, { patience: 1_000 });
    return status === 200;
  });
  return {
    child,
    address,
    [Symbol.asyncDispose]: async () => {
      await child[Symbol.asyncDispose]();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
