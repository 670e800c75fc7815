import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import t from 'tap';
import type { Fault } from '../../src/simulator/faults.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { associatedPod, assume, simulatorFor } from './caller.ts';

t.test('errors of EKS Auth', async (t) => {
  const simulator = await simulatorFor(t);
  const pod = associatedPod(simulator);
  const cases: [Fault, number, string][] = [
    [{ kind: 'internal-error' }, 500, 'InternalServerException'],
    [{ kind: 'unavailable' }, 503, 'ServiceUnavailableException'],
    [{ kind: 'throttle' }, 429, 'ThrottlingException'],
    [{ kind: 'access-denied' }, 400, 'AccessDeniedException'],
    [{ kind: 'node-credentials-expired' }, 403, 'ExpiredTokenException'],
    [{ kind: 'error' }, 500, 'InternalServerException'],
    [{ kind: 'error', status: 418, code: 'Teapot', message: 'short' }, 418, 'Teapot'],
  ];
  for (const [fault, status, code] of cases) {
    const id = simulator.faults.add(fault);
    t.match(
      await assume(simulator, pod.token),
      { status, headers: { 'x-amzn-errortype': code }, body: { message: String } },
      fault.kind,
    );
    simulator.faults.clear(id);
  }
  t.equal((await assume(simulator, pod.token)).status, 200);
  t.same(
    simulator.audit.events().map(({ fault }) => fault),
    [...cases.map(([{ kind }]) => kind), undefined],
  );
});

t.test('answers that are wrong', async (t) => {
  const simulator = await simulatorFor(t);
  const pod = associatedPod(simulator);
  const answered = async (fault: Fault) => {
    simulator.faults.add({ ...fault, calls: 1 });
    return assume(simulator, pod.token);
  };
  t.match((await answered({ kind: 'other-subject' })).body.subject, { namespace: 'other' });
  t.equal((await answered({ kind: 'other-audience' })).body.audience, 'sts.amazonaws.com');
  const { body } = await answered({ kind: 'missing-field' });
  t.notOk('sessionToken' in body.credentials);
  t.ok(body.credentials.accessKeyId);
  t.notOk('credentials' in (await answered({ kind: 'missing-field', field: 'credentials' })).body);
  const now = Date.now() / 1_000;
  t.ok((await answered({ kind: 'expired' })).body.credentials.expiration < now);
  for (const expiration of ['tomorrow', null, 1e15]) {
    const wrong = await answered({ kind: 'wrong-expiry', expiration });
    t.equal(wrong.body.credentials.expiration, expiration);
  }
  t.match(await answered({ kind: 'garbage' }), { status: 200, body: undefined });
  await t.rejects(answered({ kind: 'half-body' }), { code: 'ECONNRESET' });
  await t.rejects(answered({ kind: 'reset' }), { code: 'ECONNRESET' });
  t.equal((await assume(simulator, pod.token)).status, 200, 'each was for one call');
});

t.test('a black hole, until the caller gives up', async (t) => {
  const simulator = await simulatorFor(t);
  const pod = associatedPod(simulator);
  simulator.faults.add({ kind: 'black-hole' });
  const patience = new AbortController();
  const call = assume(simulator, pod.token, { signal: patience.signal });
  while (simulator.counts().inFlight === 0) await new Promise((resolve) => setImmediate(resolve));
  patience.abort();
  await t.rejects(call, { name: 'AbortError' });
  while (simulator.counts().inFlight > 0) await new Promise((resolve) => setImmediate(resolve));
  t.match(simulator.audit.events(), [{ status: 0, errorCode: 'BlackHole', fault: 'black-hole' }]);
});

t.test('slow for some', async (t) => {
  const clock = new ManualClock(Date.now());
  const simulator = await simulatorFor(t, { clock });
  const [slow, quick] = [associatedPod(simulator, 'slow'), associatedPod(simulator, 'quick')];
  simulator.faults.add({ kind: 'slow', delay: 2_600, serviceAccount: 'slow' });
  const now = clock.now();
  const late = assume(simulator, slow.token, { now });
  await clock.waiting();
  t.equal((await assume(simulator, quick.token, { now })).status, 200);
  await clock.advance(2_600);
  t.equal((await late).status, 200);
  t.match(simulator.audit.events({ serviceAccount: 'slow' }), [{ duration: 2_600 }]);
});

t.test('for some tokens, for some calls, for a part of the calls', async (t) => {
  const simulator = await simulatorFor(t, { seed: 3 });
  const [first, other] = [associatedPod(simulator, 'first'), associatedPod(simulator, 'other')];
  const sibling = simulator.kubelet.createPod({ namespace: 'default', serviceAccount: 'first' });
  const status = async (token: string) => (await assume(simulator, token)).status;
  const { faults } = simulator;
  faults.add({ kind: 'unavailable', namespace: 'default', serviceAccount: 'first', calls: 2 });
  t.equal(await status(other.token), 200);
  t.equal(await status(first.token), 503);
  t.match(faults.list(), [{ kind: 'unavailable', met: 1, calls: 2 }]);
  t.equal(await status(sibling.token), 503);
  t.equal(await status(first.token), 200);
  faults.add({ kind: 'throttle', pod: sibling.name });
  t.equal(await status(first.token), 200);
  t.equal(await status(sibling.token), 429);
  faults.clear();
  faults.add({ kind: 'internal-error', probability: 0.5 });
  const statuses = await Promise.all(Array.from({ length: 40 }, () => status(first.token)));
  const failed = statuses.filter((code) => code === 500).length;
  t.ok(failed > 8 && failed < 32, `${failed} of 40`);
  t.throws(() => faults.add({ kind: 'endless' }), /kind of a fault of eks-auth/);
  t.throws(() => faults.add({ kind: 'reset', calls: 0 }), /calls must be at least 1/);
  t.throws(() => faults.add({ kind: 'reset', podd: 'x' } as never), /podd is not known/);
});

t.test('faults of the issuer', async (t) => {
  const clock = new ManualClock(Date.now());
  const simulator = await simulatorFor(t, { clock });
  const { faults, issuer } = simulator;
  const keys = `${issuer}/keys`;
  const answered = async (fault: Omit<Fault, 'service'>, url = keys) => {
    faults.clear();
    faults.add({ ...fault, service: 'issuer' });
    return fetch(url, { redirect: 'manual' });
  };
  t.equal((await answered({ kind: 'unavailable' })).status, 503);
  t.equal((await answered({ kind: 'not-found' })).status, 404);
  const redirect = await answered({ kind: 'redirect', location: 'https://elsewhere/keys' });
  t.equal(redirect.status, 302);
  t.equal(redirect.headers.get('location'), 'https://elsewhere/keys');
  await t.rejects((await answered({ kind: 'garbage' })).json());
  await t.rejects((await answered({ kind: 'half-body' })).text());
  await t.rejects(answered({ kind: 'reset' }));
  const onlyKeys = { kind: 'unavailable', document: 'keys' } as const;
  const configuration = `${issuer}/.well-known/openid-configuration`;
  t.equal((await answered(onlyKeys, configuration)).status, 200);
  const slow = answered({ kind: 'slow', delay: 3_000 });
  await clock.waiting();
  await clock.advance(3_000);
  t.equal((await slow).status, 200);

  faults.clear();
  faults.add({ service: 'issuer', kind: 'endless' });
  const [response] = (await once(get(keys), 'response')) as [IncomingMessage];
  let size = 0;
  for await (const chunk of response) {
    size += (chunk as Buffer).length;
    if (size > 1_000_000) break;
  }
  t.ok(size > 1_000_000);
});

t.test('an outage of everything', async (t) => {
  const clock = new ManualClock(Date.now());
  const simulator = await simulatorFor(t, { clock });
  const pod = associatedPod(simulator);
  await simulator.outage(10_000);
  await t.rejects(assume(simulator, pod.token), { code: 'ECONNREFUSED' });
  await clock.advance(10_000);
  await simulator.recovered();
  t.equal((await assume(simulator, pod.token, { now: clock.now() })).status, 200);
});
