import { setTimeout as pause } from 'node:timers/promises';
import type { RemotePod, RemoteSimulator } from '../../src/simulator/control-client.ts';
import { BrokenRunError } from '../harness/broken-run.ts';
import { startBroker } from '../harness/broker.ts';
import { inParallel } from '../harness/pods.ts';
import { checkAnswers, type PodAnswer } from '../harness/right-answers.ts';
import { startTracing } from '../harness/tracing.ts';
import { type Address, type Try, tryOnce } from '../load/one-try.ts';
import type { Bench } from '../scenario.ts';
import { nginxVersion, startNginx } from '../servers/nginx.ts';
import { NO_REDIS, redisVersion, startRedis } from '../servers/redis.ts';
import { startBare } from '../servers/start-bare.ts';
import type { HitServer, ServerName } from './hit-path-turn.ts';

/** How often a pod asks one of ours that answers 503; what a peer refuses is a figure. */
const TRIES = 4;

/** A server, and whose answers it has given before the load. */
export type RunningServer = Omit<HitServer, 'answerBytes'>;

/** All servers that take turns. */
export interface HitServers extends AsyncDisposable {
  readonly servers: readonly RunningServer[];
  /** What the broker answers with. */
  readonly body: string;
  /** Why some have no part in it. */
  readonly missing: readonly string[];
}

/** What is turned on besides the defaults, by the server's name. */
interface Extra {
  readonly flags?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/**
 * Starts the broker as it is by default, with traces, with Redis and in token scope, a bare
 * server and nginx; every pod has asked each broker once, and was answered rightly.
 */
export async function startServers(
  bench: Bench,
  simulator: RemoteSimulator,
  pods: readonly RemotePod[],
): Promise<HitServers> {
  await using stack = new AsyncDisposableStack();
  const core = bench.cores?.target;
  const servers: RunningServer[] = [];
  const missing: string[] = [];
  const start = async (name: ServerName, { flags = [], env = {} }: Extra = {}) => {
    bench.progress(`starting ${name}`);
    const broker = await startBroker(bench, simulator, {
      core,
      sampling: 'default',
      flags,
      // All of the load comes from one address. Its budget is counted, and never used up.
      env: { POD_IDENTITY_BROKER_MAX_POD_QPS: '1000000', ...env },
    });
    stack.use(broker);
    servers.push({ name, address: broker.address, pid: broker.pid });
    const answers = await askAll(broker.address, pods);
    await checkAnswers(simulator, answers);
    return answers;
  };

  const answers = await start('broker');
  if (bench.tracing === undefined) {
    // The receiver is left open until the broker has sent its last spans.
    const tracing = await startTracing();
    stack.defer(() => tracing.close());
    await start('traced', { env: tracing.environment('default') });
  } else missing.push('no broker with traces beside one without: all are traced');
  if (redisVersion() === undefined) missing.push(`no broker with Redis: ${NO_REDIS}`);
  else await start('redis', { flags: stack.use(await startRedis()).flags });
  await start('token', { flags: ['--session-scope=token'] });

  const bodies = Object.fromEntries(answers.map(({ pod, body }) => [pod.token, body]));
  const bare = stack.use(await startBare(bodies, core));
  servers.push({ name: 'bare', address: bare.address, pid: bare.pid });
  const body = answers[0]?.body ?? '';
  if (nginxVersion() === undefined) missing.push('no nginx: it is not installed');
  else {
    const nginx = stack.use(await startNginx(body, core));
    servers.push({ name: 'nginx', address: nginx.address, pid: nginx.pid });
  }
  if (bench.peer !== undefined) {
    const { address, pid } = bench.peer;
    servers.push({ name: 'peer', address, pid });
    await checkAnswers(simulator, await askAll(address, pods, 'peer'));
  }
  const owned = stack.move();
  return { servers, body, missing, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/**
 * Every pod asks once.
 *
 * @returns The answers with credentials.
 * @throws BrokenRunError where one of ours gives none; a peer may refuse.
 */
export async function askAll(
  target: Address,
  pods: readonly RemotePod[],
  who: 'ours' | 'peer' = 'ours',
): Promise<PodAnswer[]> {
  const answers = await inParallel(pods.length, async (index) => {
    const pod = pods[index] as RemotePod;
    const { status, body, failure } = await tryUpTo(who === 'ours' ? TRIES : 1, target, pod.token);
    if (status === 200) return { pod, body };
    if (who === 'peer') return undefined;
    throw new BrokenRunError(`a pod was answered ${status}: ${failure ?? body}`);
  });
  return answers.filter((answer) => answer !== undefined);
}

/** As SDKs do, tries again where it is told to: a process that has just started may be slow. */
async function tryUpTo(most: number, target: Address, token: string): Promise<Try> {
  for (let tries = 1; ; tries += 1) {
    const answer = await tryOnce(target, token, { patience: 10_000 });
    if (answer.status !== 503 || tries === most) return answer;
    await pause(1_000);
  }
}
