import t from 'tap';
import { AuditLog } from '../../src/simulator/audit.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { associatedPod, assume, call, simulatorFor } from './caller.ts';

t.test('every call is logged, and none of its secrets', async (t) => {
  const simulator = await simulatorFor(t);
  const { audit, kubelet } = simulator;
  const pod = associatedPod(simulator);
  const { body, headers } = await assume(simulator, pod.token);
  const { credentials } = body;
  const query = { service: 'sts', body: 'Action=GetCallerIdentity', credentials };
  await call(simulator, query);
  const lonely = kubelet.createPod({ namespace: 'other', serviceAccount: 'lonely' });
  await assume(simulator, lonely.token);
  await assume(simulator, 'not.a.token');
  await assume(simulator, pod.token, { headers: { authorization: undefined } });
  await fetch(`${simulator.issuer}/keys`);
  await fetch(`${simulator.url}/nowhere`);
  await fetch(`${simulator.url}/_simulator/counts`);

  t.match(audit.events(), [
    {
      sequence: 1,
      time: Number,
      duration: Number,
      service: 'eks-auth',
      operation: 'AssumeRoleForPodIdentity',
      requestId: headers['x-amzn-requestid'],
      status: 200,
      errorCode: undefined,
      callerArn: 'arn:aws:sts::111122223333:assumed-role/simulated-node/i-0123456789abcdef0',
      callerAccessKeyId: simulator.nodeCredentials.accessKeyId,
      clusterName: 'simulated',
      namespace: 'default',
      serviceAccount: 'web',
      serviceAccountUid: kubelet.serviceAccountUid('default', 'web'),
      pod: pod.name,
      podUid: pod.uid,
      tokenId: JSON.parse(atob(pod.token.split('.')[1] as string)).jti,
      associationId: body.podIdentityAssociation.associationId,
      assumedRoleArn: body.assumedRoleUser.arn,
      sessionName: body.assumedRoleUser.arn.split('/')[2],
      issuedAccessKeyId: credentials.accessKeyId,
      expiration: credentials.expiration * 1_000,
    },
    { service: 'sts', operation: 'GetCallerIdentity', callerArn: body.assumedRoleUser.arn },
    { status: 404, errorCode: 'ResourceNotFoundException', serviceAccount: 'lonely' },
    { status: 400, errorCode: 'InvalidTokenException', namespace: undefined },
    { status: 403, errorCode: 'MissingAuthenticationTokenException', pod: pod.name },
    { service: 'issuer', operation: 'GetKeys', status: 200 },
    { service: 'unknown', status: 404 },
  ]);
  t.strictSame(audit.events()[0]?.sessionTags, {
    'eks-cluster-arn': simulator.clusterArn,
    'eks-cluster-name': 'simulated',
    'kubernetes-namespace': 'default',
    'kubernetes-service-account': 'web',
    'kubernetes-pod-name': pod.name,
    'kubernetes-pod-uid': pod.uid,
  });
  const log = JSON.stringify(audit.events());
  for (const secret of [
    pod.token,
    pod.token.split('.')[2] as string,
    lonely.token,
    credentials.secretAccessKey,
    credentials.sessionToken,
    simulator.nodeCredentials.secretAccessKey,
  ]) {
    t.notOk(log.includes(secret));
  }

  t.match(simulator.counts(), {
    calls: 7,
    operations: {
      'eks-auth:AssumeRoleForPodIdentity': {
        calls: 4,
        succeeded: 1,
        errors: { ResourceNotFoundException: 1, MissingAuthenticationTokenException: 1 },
      },
      'sts:GetCallerIdentity': { calls: 1, succeeded: 1 },
      'issuer:GetKeys': { calls: 1, succeeded: 1 },
    },
    serviceAccounts: {
      'default/web': { calls: 2, succeeded: 1 },
      'other/lonely': { calls: 1, succeeded: 0 },
    },
    inFlight: 0,
    peakInFlight: 1,
  });
  t.equal(audit.events({ serviceAccount: 'web' }).length, 2);
  t.equal(audit.events({ errorCode: 'ResourceNotFoundException' }).length, 1);
  t.match(audit.events({ after: 4, limit: 2 }), [{ sequence: 6 }, { sequence: 7 }]);
  simulator.resetCounts();
  t.equal(simulator.counts().calls, 0);
});

t.test('no session tags where the association disables them', async (t) => {
  const simulator = await simulatorFor(t);
  const pod = associatedPod(simulator);
  const [association] = simulator.associations.list();
  simulator.associations.update(association?.associationId ?? '', { disableSessionTags: true });
  await assume(simulator, pod.token);
  t.strictSame(simulator.audit.events()[0]?.sessionTags, {});
});

t.test('double fetches: calls for the same at the same time', async (t) => {
  const clock = new ManualClock(Date.now());
  const simulator = await simulatorFor(t, { clock, latency: 100 });
  const pod = associatedPod(simulator);
  const sibling = simulator.kubelet.createPod({ namespace: 'default', serviceAccount: 'web' });
  const other = associatedPod(simulator, 'other');
  const old = pod.token;
  pod.rotate();
  const now = clock.now();
  const together = async (...tokens: string[]) => {
    const answers = tokens.map((token) => assume(simulator, token, { now: clock.now() }));
    while (clock.pending < tokens.length) await new Promise((resolve) => setImmediate(resolve));
    await clock.advance(100);
    await Promise.all(answers);
    const { doubleFetches, peakInFlight } = simulator.counts();
    simulator.resetCounts();
    return { ...doubleFetches, peakInFlight };
  };
  t.ok(now);
  const none = { serviceAccount: 0, pod: 0, token: 0 };
  t.same(await together(pod.token, other.token), { ...none, peakInFlight: 2 });
  t.same(await together(pod.token, sibling.token), { ...none, serviceAccount: 1, peakInFlight: 2 });
  t.same(await together(pod.token, old), {
    serviceAccount: 1,
    pod: 1,
    token: 0,
    peakInFlight: 2,
  });
  t.same(await together(pod.token, pod.token, pod.token), {
    serviceAccount: 2,
    pod: 2,
    token: 2,
    peakInFlight: 3,
  });
  t.same(await together(pod.token), { ...none, peakInFlight: 1 });
});

t.test('a caller that hangs up is logged as one', async (t) => {
  const clock = new ManualClock(Date.now());
  const simulator = await simulatorFor(t, { clock, latency: 1_000 });
  const pod = associatedPod(simulator);
  const patience = new AbortController();
  const call = assume(simulator, pod.token, { now: clock.now(), signal: patience.signal });
  await clock.waiting();
  patience.abort();
  await t.rejects(call);
  while (simulator.audit.sequence === 0) await new Promise((resolve) => setImmediate(resolve));
  t.match(simulator.audit.events(), [
    { status: 0, errorCode: 'ClientClosed', issuedAccessKeyId: undefined },
  ]);
  t.equal(clock.pending, 0);
  t.equal(simulator.counts().inFlight, 0);
});

t.test('the oldest events make room', async (t) => {
  const log = new AuditLog(3);
  const add = (requestId: string) =>
    log.add({
      time: 0,
      duration: 0,
      service: 'eks',
      operation: 'x',
      requestId,
      status: 200,
    });
  const ids = (query = {}) => log.events(query).map(({ requestId }) => requestId);
  t.same(ids(), []);
  for (const id of ['a', 'b', 'c', 'd', 'e']) add(id);
  t.same(ids(), ['c', 'd', 'e']);
  t.same(ids({ after: 4 }), ['e']);
  t.same(ids({ limit: 2 }), ['d', 'e']);
  log.clear();
  t.same(ids(), []);
  const { sequence } = log;
  for (const id of ['f', 'g']) add(id);
  t.same(ids(), ['f', 'g']);
  t.same(ids({ after: sequence + 1 }), ['g']);
  for (const id of ['h', 'i']) add(id);
  t.same(ids(), ['g', 'h', 'i']);
});
