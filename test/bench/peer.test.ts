import { createServer, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import t, { type Test } from 'tap';
import type { HitSeries } from '../../bench/scenarios/hit-path-figures.ts';
import { startSimulator } from '../../src/simulator/simulator.ts';
import { startBroker } from '../support/broker-process.ts';
import { readResults, runBench } from './run-bench.ts';

/** Of three tokens that it sees for the first time, the last is refused for good. */
async function startRefusingPeer(port: number): Promise<Server> {
  const tokens = new Map<string, number>();
  const server = createServer((asked, answer) => {
    const token = asked.headers.authorization ?? '';
    const place = tokens.get(token) ?? tokens.size;
    tokens.set(token, place);
    if (place % 3 === 2) {
      answer.writeHead(429, { 'Content-Length': 0 }).end();
      return;
    }
    request({ host: '127.0.0.1', port, path: asked.url, headers: { Authorization: token } })
      .on('response', (response) => {
        answer.writeHead(response.statusCode ?? 502, response.headers);
        response.pipe(answer);
      })
      .on('error', () => answer.destroy())
      .end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}

async function peerOf(t: Test) {
  const simulator = await startSimulator();
  t.teardown(() => simulator.close());
  const broker = await startBroker({
    t,
    simulator,
    args: ['--session-scope=pod', `--token-issuer=${simulator.issuer}`, '--max-pod-qps=0'],
  });
  const server = await startRefusingPeer(broker.port);
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return {
    simulator,
    options: [
      ...['--peer', `http://127.0.0.1:${port}`, '--peer-pid', String(broker.pid)],
      ...['--simulator', simulator.url, '--program', 'src/main.ts'],
    ],
  };
}

t.test('what a peer refuses is a figure, not a broken run', async (t) => {
  const { simulator, options } = await peerOf(t);
  const directory = t.testdir();
  const { code, stdout, stderr } = await runBench([
    ...['--scenario', 'density', '--scenario', 'outage', '--results', directory],
    ...['--set', 'density.combinations=[{"pods":6,"processes":2,"serviceAccounts":2}]'],
    ...['--set', 'outage.pods=6', '--set', 'outage.serviceAccounts=2'],
    ...['beforeSeconds', 'awaySeconds', 'afterSeconds'].flatMap((name) => [
      '--set',
      `outage.${name}=3`,
    ]),
    ...['--set', 'peer.rounds=1', ...options],
  ]);
  t.equal(code, 0, stderr);
  const { scenarios, subject } = readResults(directory);
  t.match(subject.peer, { simulator: simulator.url, url: /^http:/, pid: Number });
  type Round = { first: { unserved: number; calls: number }; residentMiB: number };
  const figures = scenarios.density?.figures as { variant: string; rounds: Round[] }[];
  const unserved = figures.map(({ variant, rounds }) => [
    variant,
    rounds.map(({ first }) => first.unserved),
  ]);
  t.same(unserved, [
    ['service-account', [0]],
    ['pod', [0]],
    ['token', [0]],
    ['peer', [4]],
  ]);
  const peer = figures.at(-1)?.rounds[0];
  t.equal(peer?.first.calls, 4, 'a call for each pod that was not refused');
  t.ok((peer?.residentMiB ?? 0) > 20, 'its memory is known by its process');
  t.match(stdout, /without credentials/);
  t.match(stdout, /peer +\d/, 'the peer has its row');
  // In turns on one EKS Auth: nobody is in trouble outside of its own turn.
  t.same(simulator.faults.list(), [], 'no fault is left in the peer’s EKS Auth');
  t.equal(simulator.eksAuth.settings.latency, 0);
});

t.test('a load on a peer that refuses some', async (t) => {
  const { options } = await peerOf(t);
  const directory = t.testdir();
  const small = { tokens: 6, serviceAccounts: 2, rounds: 1, turnSeconds: 1, warmUpSeconds: 1 };
  const { code, stdout, stderr } = await runBench([
    ...['--scenario', 'hit-path', '--results', directory, ...options],
    ...Object.entries(small).flatMap(([name, value]) => ['--set', `hit-path.${name}=${value}`]),
  ]);
  t.equal(code, 0, stderr);
  t.match(stdout, /refused/);
  const { scenarios } = readResults(directory);
  const figures = scenarios['hit-path']?.figures as { series: HitSeries[] } | undefined;
  const series = figures?.series ?? [];
  for (const { server, turns } of series) {
    for (const { refused, requests, requestsPerSecond, seconds } of turns) {
      if (server !== 'peer') {
        t.equal(refused, 0, server);
        continue;
      }
      t.ok(refused > requests * 0.1 && refused < requests, `${refused} of ${requests} refused`);
      t.ok(Math.abs(requestsPerSecond - (requests - refused) / seconds) < 1, 'answered ones count');
    }
  }
  const names = new Set(series.map(({ server }) => server));
  for (const name of ['broker', 'traced', 'token', 'bare', 'peer'] as const) {
    t.ok(names.has(name), `${name} took turns`);
  }
});
