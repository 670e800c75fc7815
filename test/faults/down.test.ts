import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { createServer as createTlsServer } from 'node:tls';
import t, { type Test } from 'tap';
import type { Fault } from '../../src/simulator/faults.ts';
import type { BrokerProcess } from '../support/broker-process.ts';
import { createAuthority } from '../support/certificates.ts';
import { ask, askUntilGiven, type Cluster, holds, startCluster } from './cluster.ts';

// EKS Auth is away in one way or another. Who has a session keeps it, whoever asks for it; who
// has none is told why, in time; and when EKS Auth is back, so are all of them, without a rush.

/** Sessions that are wanted when EKS Auth is away: more than its recovery should meet at once. */
const WANTED = 24;
/** Sessions of a large node that are all wanted when EKS Auth comes back. */
const CROWD = 250;
/** Those of them whose calls may be under way while EKS Auth fails. */
const CALLING = 4;
/** Calls in progress at most at an EKS Auth that has just come back. */
const MAX_AT_ONCE = 64;
/** Calls a second, beside the first of each session, that look whether EKS Auth is back. */
const PROBES = 6;
/** Calls of one session in the few seconds that a trouble lasts. */
const TRIES = 8;
/** How long pods wait at most; they give up at 2 s, and a busy machine adds to what is measured. */
const TOLD_WITHIN = 2_400;

interface Trouble {
  /** Begins it, and returns what ends it. */
  readonly begin: (cluster: Cluster) => Promise<() => Promise<void> | void> | (() => void);
  /** What a pod without a session is told. */
  readonly told: { readonly code?: RegExp; readonly message?: RegExp };
  /** It is about each session alone, so that none goes slower for the others. */
  readonly alone?: boolean;
}

const injected = (fault: Fault): Trouble['begin'] =>
  function begin({ simulator }) {
    const id = simulator.faults.add(fault);
    return () => simulator.faults.clear(id);
  };

const TROUBLES: Readonly<Record<string, Trouble>> = {
  refused: {
    begin: async ({ simulator }) => {
      // Ended by the test: an outage without end would outlast it.
      await simulator.outage(600_000);
      return async () => {
        await simulator.outage(0);
        await simulator.recovered();
      };
    },
    told: { code: /^ECONNREFUSED$/, message: /connect ECONNREFUSED/ },
  },
  reset: { begin: injected({ kind: 'reset' }), told: { code: /^(ECONNRESET|UND_ERR_SOCKET)$/ } },
  'a black hole': {
    begin: injected({ kind: 'black-hole' }),
    told: { code: /^ERR_EXCHANGE_TIMEOUT$/, message: /no complete answer within 1500 ms/ },
  },
  '500': {
    begin: injected({ kind: 'internal-error' }),
    told: { code: /^InternalServerException$/, message: /Internal server error\./ },
  },
  '503': {
    begin: injected({ kind: 'unavailable' }),
    told: { code: /^ServiceUnavailableException$/, message: /Service is unavailable\./ },
  },
  garbage: {
    begin: injected({ kind: 'garbage' }),
    told: { code: /^Http200$/, message: /not an answer of EKS Auth/ },
  },
  'half a body': {
    begin: injected({ kind: 'half-body' }),
    told: {
      code: /^ERR_INCOMPLETE_ANSWER$/,
      message: /the connection ended before the answer was complete/,
    },
  },
  'a missing field': {
    begin: injected({ kind: 'missing-field', field: 'credentials.sessionToken' }),
    told: { code: /^MalformedAnswer$/, message: /credentials\.sessionToken/ },
  },
  'another subject': {
    begin: injected({ kind: 'other-subject' }),
    told: { code: /^UnexpectedAnswer$/, message: /another service account/ },
    alone: true,
  },
  'expired credentials': {
    begin: injected({ kind: 'expired' }),
    told: { code: /^UnexpectedAnswer$/, message: /expired/ },
    alone: true,
  },
};

/** Flags that make failures show within the time of a test. */
const IMPATIENT = ['--attempt-timeout=1500ms'];

t.jobs = 4;

for (const [name, trouble] of Object.entries(TROUBLES)) {
  t.test(`EKS Auth is away: ${name}`, { buffered: true }, async (t) => {
    const cluster = await startCluster(t);
    await outlives(t, cluster, await cluster.broker({ args: IMPATIENT }), trouble);
  });
}

t.test(
  'EKS Auth is away: a black hole, with the time-outs as shipped',
  { buffered: true },
  async (t) => {
    const cluster = await startCluster(t);
    await outlives(t, cluster, await cluster.broker(), {
      begin: injected({ kind: 'black-hole' }),
      told: { code: /^CredentialsPending$/, message: /EKS Auth has not answered yet/ },
    });
  },
);

t.test('EKS Auth is away: another certificate', { buffered: true }, async (t) => {
  const authority = createAuthority(t);
  const door = await openDoor(t);
  const cluster = await startCluster(t, {
    tls: authority.issue('eks-auth.test'),
    issuer: `https://127.0.0.1:${door.port}/id/0123456789ABCDEF`,
  });
  const impostor = createTlsServer(createAuthority(t, 'impostor').issue('eks-auth.test'));
  impostor.on('tlsClientError', () => undefined);
  impostor.listen(0, '127.0.0.1');
  await once(impostor, 'listening');
  t.teardown(() => impostor.close());
  const real = Number(new URL(cluster.simulator.url).port);
  door.leadsTo(real);
  const broker = await cluster.broker({
    args: [...IMPATIENT, `--endpoint=https://127.0.0.1:${door.port}`],
    env: { AWS_CA_BUNDLE: authority.path },
  });
  await outlives(t, cluster, broker, {
    begin: () => {
      door.leadsTo((impostor.address() as AddressInfo).port);
      return () => door.leadsTo(real);
    },
    told: { code: /CERT|SIGNATURE/ },
  });
});

t.test('EKS Auth comes back, and is not met by all who wait', { buffered: true }, async (t) => {
  const cluster = await startCluster(t, { latency: 100, keyAlgorithm: 'ES256' });
  const { simulator } = cluster;
  cluster.associate('crowd');
  const broker = await cluster.broker({
    args: ['--session-scope=pod', '--connect-timeout=10s'],
  });
  const id = simulator.faults.add({ kind: 'unavailable' });
  const pods = Array.from({ length: CROWD }, () => cluster.pod('crowd'));
  const waiting = pods.map(({ token }) =>
    askUntilGiven(broker, token, { within: 25_000, every: 1_000 }),
  );
  const wanted = 'pod_identity_broker_waiting_calls{priority="foreground"}';
  // But for probes: a call that is still under way would count as one that was made later.
  const all = async () => ((await broker.metrics()).get(wanted) ?? 0) >= CROWD - CALLING;
  t.ok(await holds(all, 10_000), 'the sessions wait for their turn');

  const failing = await broker.logged(({ msg }) => /^EKS Auth is failing/.test(msg));
  t.equal(failing.level, 'warn');

  simulator.resetCounts();
  simulator.faults.clear(id);
  const mendedAt = performance.now();
  const replies = await Promise.all(waiting);
  const took = (performance.now() - mendedAt) / 1_000;
  t.ok(
    replies.every(({ status }) => status === 200),
    'all have credentials',
  );
  t.ok(took < 8, `within seconds: ${took.toFixed(1)}`);
  const { assumeRole, peakInFlight } = simulator.counts();
  t.ok(peakInFlight <= MAX_AT_ONCE, `at most ${peakInFlight} calls at once`);
  t.ok(peakInFlight > 8, 'and yet not one by one');
  t.ok(assumeRole.calls <= CROWD + CALLING, `${assumeRole.calls} calls for ${CROWD} sessions`);
  const again = await broker.logged(({ msg }) => /^EKS Auth answers again/.test(msg));
  t.equal(again.level, 'info');
});

/** Sessions live through a trouble, and come to life after it. */
async function outlives(t: Test, cluster: Cluster, broker: BrokerProcess, trouble: Trouble) {
  const { simulator } = cluster;
  const wanted = Array.from({ length: WANTED }, (_, index) => `wanted-${index}`);
  cluster.associate('known', ...wanted);
  const pod = cluster.pod('known');
  const before = await ask(broker, pod.token);
  t.equal(before.status, 200);
  const mend = await trouble.begin(cluster);
  const began = cluster.calls().length;
  const startedAt = performance.now();

  const unknown = cluster.pod(wanted[0] as string);
  const [first, ...served] = await Promise.all([
    ask(broker, unknown.token),
    ask(broker, pod.token),
    ask(broker, pod.rotate()),
    ask(broker, cluster.pod('known').token),
  ]);
  for (const [index, who] of ['a known pod', 'its next token', 'a new pod'].entries()) {
    t.match(served[index], { status: 200, body: before.body }, `${who} is served`);
    t.ok((served[index]?.took ?? Number.NaN) < 1_500, `${who} does not wait`);
  }
  t.equal(first.status, 503);
  t.ok(
    first.took < TOLD_WITHIN,
    `who has no session is told in time (${Math.round(first.took)} ms)`,
  );
  t.match(first.body, trouble.told, `and why: ${first.body.code}: ${first.body.message}`);
  t.match(first.headers['retry-after'], /^[1-9]\d*$/);

  const waiting = wanted.map((serviceAccount) =>
    askUntilGiven(broker, cluster.pod(serviceAccount).token, { within: 25_000, every: 1_000 }),
  );
  await pause(2_000);
  t.match(await ask(broker, pod.token), { status: 200, body: before.body }, 'still served');
  const during = cluster.calls().length - began;
  const seconds = (performance.now() - startedAt) / 1_000;
  const most = trouble.alone ? WANTED * TRIES : WANTED + PROBES * seconds;
  t.ok(during <= most, `${during} calls in ${seconds.toFixed(1)} s`);

  simulator.resetCounts();
  await mend();
  const mendedAt = performance.now();
  const replies = await Promise.all(waiting);
  const took = (performance.now() - mendedAt) / 1_000;

  t.ok(
    replies.every(({ status }) => status === 200),
    'all have credentials',
  );
  t.ok(took < 8, `within seconds: ${took.toFixed(1)}`);
  const { assumeRole, doubleFetches } = simulator.counts();
  t.equal(doubleFetches.serviceAccount, 0);
  t.ok(assumeRole.calls <= WANTED + 4, `${assumeRole.calls} calls for ${WANTED} sessions`);
  t.ok(await holds(async () => (await broker.probe('readyz')) === 200, 1_000), 'ready');
}

/** A port that leads to another one, which can be changed; then open connections are cut. */
async function openDoor(t: Test) {
  let target = 0;
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    const behind = connect(target, '127.0.0.1');
    for (const one of [socket, behind]) {
      open.add(one);
      one.on('error', () => undefined);
      one.on('close', () => {
        open.delete(one);
        socket.destroy();
        behind.destroy();
      });
    }
    socket.pipe(behind).pipe(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const close = () => {
    for (const socket of open) socket.destroy();
  };
  t.teardown(() => {
    server.close();
    close();
  });
  return {
    port: (server.address() as AddressInfo).port,
    leadsTo(port: number) {
      target = port;
      close();
    },
  };
}
