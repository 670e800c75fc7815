import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { BrokenRunError } from '../harness/broken-run.ts';
import { startBroker } from '../harness/broker.ts';
import { type Child, freePort, ready, startChild } from '../harness/child.ts';
import { startCluster } from '../harness/cluster.ts';
import { createPods } from '../harness/pods.ts';
import { checkAnswers } from '../harness/right-answers.ts';
import { loadWithAutocannon } from '../load/autocannon.ts';
import type { HttpLoad } from '../load/http-load.ts';
import { tryOnce } from '../load/one-try.ts';
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
    const { config, cores } = bench;
    const plan = config['hit-path'];
    const core = cores?.target;
    await using cluster = await startCluster({ seed: config.seed });
    await using broker = await startBroker(cluster.simulator, { core });
    const pods = await createPods(cluster.simulator, {
      pods: plan.tokens,
      serviceAccounts: plan.serviceAccounts,
    });
    const answers = await Promise.all(
      pods.map(async (pod) => {
        const { status, body } = await tryOnce(broker.port, pod.token, { patience: 10_000 });
        if (status !== 200) throw new BrokenRunError(`a pod was answered ${status}: ${body}`);
        return { pod, body };
      }),
    );
    await checkAnswers(cluster.simulator, answers);
    const bodies = Object.fromEntries(answers.map(({ pod, body }) => [pod.token, body]));
    await using bare = await startBare(bodies, core);
    const body = answers[0]?.body ?? '';
    await using nginx = nginxVersion() === undefined ? undefined : await startNginx(body, core);

    const servers = [
      { name: 'broker', port: broker.port, pid: broker.pid },
      { name: 'bare', port: bare.port, pid: bare.child.pid },
      ...(nginx === undefined ? [] : [{ name: 'nginx', port: nginx.port, pid: nginx.pid }]),
    ];
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
    await checkAnswers(cluster.simulator, await askAgain(broker.port, pods));
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
  readonly rounds?: number;
}

/** Loads the servers in turn, A B C A B C …, after each was warmed up. */
async function inTurns(
  { config, cores, progress }: Bench,
  servers: readonly Omit<HitServer, 'answerBytes'>[],
  { tokens, connection, load, rounds }: Turns,
): Promise<HitSeries[]> {
  const plan = config['hit-path'];
  const run = load === 'wrk' ? loadWithWrk : loadWithAutocannon;
  const loadOf = (port: number, seconds: number): HttpLoad => ({
    port,
    tokens,
    connection,
    connections: plan.connections,
    duration: seconds * 1_000,
  });
  const known: HitServer[] = [];
  for (const server of servers) {
    progress(`${connection}: ${server.name} warms up`);
    await run(loadOf(server.port, plan.warmUpSeconds));
    const one = await tryOnce(server.port, tokens[0] ?? '', { patience: 10_000, connection });
    known.push({ ...server, answerBytes: load === 'wrk' ? one.bytes : undefined });
  }
  const series = known.map(
    ({ name }): HitSeries => ({ server: name, connection, load, turns: [] }),
  );
  const all = rounds ?? plan.rounds;
  for (let round = 1; round <= all; round += 1) {
    for (const [index, server] of known.entries()) {
      const turn = await hitTurn(server, loadOf(server.port, plan.turnSeconds), run, cores);
      series[index]?.turns.push(turn);
      const rate = Math.round(turn.requestsPerSecond);
      progress(`${connection}, ${load}, round ${round} of ${all}: ${server.name} ${rate}/s`);
    }
  }
  return series;
}

async function askAgain(port: number, pods: Awaited<ReturnType<typeof createPods>>) {
  return await Promise.all(
    pods.map(async (pod) => {
      const { body } = await tryOnce(port, pod.token, { patience: 10_000 });
      return { pod, body };
    }),
  );
}

async function startBare(bodies: Readonly<Record<string, string>>, core: number | undefined) {
  const directory = mkdtempSync(join(tmpdir(), 'broker-bench-bare-'));
  const file = join(directory, 'bodies.json');
  writeFileSync(file, JSON.stringify(bodies), { mode: 0o600 });
  const program = fileURLToPath(new URL('../servers/bare.ts', import.meta.url));
  const port = await freePort();
  const child: Child = startChild([process.execPath, program, String(port), file], { core });
  const [token = ''] = Object.keys(bodies);
  await ready(child, 'the bare server', async () => {
    const { status } = await tryOnce(port, token, { patience: 1_000 });
    return status === 200;
  });
  return {
    child,
    port,
    [Symbol.asyncDispose]: async () => {
      await child[Symbol.asyncDispose]();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}
