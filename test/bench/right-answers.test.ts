import t from 'tap';
import { BrokenRunError } from '../../bench/harness/broken-run.ts';
import { checkAnswers } from '../../bench/harness/right-answers.ts';
import { checkFailures, expectCredentials } from '../../bench/harness/right-failures.ts';
import type { RemoteSimulator } from '../../src/simulator/control-client.ts';

const issued = [
  { issuedAccessKeyId: 'ASIAONE', assumedRoleArn: 'arn:aws:sts::111122223333:assumed-role/one/s' },
  { issuedAccessKeyId: 'ASIATWO', assumedRoleArn: 'arn:aws:sts::111122223333:assumed-role/two/s' },
];
const simulator = { audit: { events: async () => issued } } as unknown as RemoteSimulator;
const answer = (serviceAccount: string, accessKeyId: string) => ({
  pod: { name: `${serviceAccount}-1`, serviceAccount, token: 'not used' },
  body: JSON.stringify({ AccessKeyId: accessKeyId }),
});

t.test('each pod has to be given its own role', async (t) => {
  await checkAnswers(simulator, [answer('one', 'ASIAONE'), answer('two', 'ASIATWO')]);
  await t.rejects(checkAnswers(simulator, [answer('one', 'ASIATWO')]), {
    name: 'BrokenRunError',
    message: 'pod one-1 of one was given two',
  });
  await t.rejects(checkAnswers(simulator, [answer('one', 'ASIANOBODY')]), BrokenRunError);
  const unreadable = { ...answer('one', ''), body: '<html>' };
  await t.rejects(checkAnswers(simulator, [unreadable]), { message: 'an answer is not JSON' });
});

t.test('which failures a run may have', async (t) => {
  const outcome = (status: number, failure?: string) => ({ status, failure, body: '' });
  checkFailures('pod', [outcome(200), outcome(503), outcome(0, 'patience')]);
  for (const wrong of [outcome(500), outcome(400), outcome(429), outcome(0, 'ECONNRESET')]) {
    t.throws(() => checkFailures('pod', [outcome(200), wrong]), BrokenRunError);
    checkFailures('peer', [wrong]);
  }
  expectCredentials('token', 'a known pod', [outcome(200)]);
  t.throws(() => expectCredentials('token', 'a known pod', [outcome(200), outcome(503)]), {
    name: 'BrokenRunError',
    message: 'token: a known pod was answered 503: ',
  });
  expectCredentials('peer', 'a known pod', [outcome(503)]);
});
