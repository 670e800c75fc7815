import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import t from 'tap';
import type { RoleCredentials } from '../../src/eks-auth/assume-role.ts';
import { Entries, type Entry } from '../../src/session-store/entries.ts';
import { Names } from '../../src/session-store/names.ts';
import { Sealer } from '../../src/session-store/seal.ts';
import type { KeptCredentials, StoredSession } from '../../src/session-store/session-store.ts';
import { ManualClock } from '../support/manual-clock.ts';

// Whoever can read and write Redis, but lacks the key, gets nothing out of an entry and nothing
// else into a broker: an entry opens where, when and as it was sealed, or not at all.

const AUDIENCE = 'pods.eks.amazonaws.com';
const CLUSTER = 'production';
const HOUR = 3_600_000;

const clock = new ManualClock();
const key = randomBytes(32);

function entriesOf(keys: readonly Buffer[], clusterName = CLUSTER, nodeName = 'node-1'): Entries {
  return new Entries({
    clock,
    sealer: new Sealer(keys),
    names: keys.map((one) => new Names(one, { clusterName, nodeName, sharing: 'node' })),
    clusterName,
    audience: AUDIENCE,
  });
}

const name = fc.stringMatching(/^[a-z0-9]{1,12}$/);

/** A session with what is kept of it. */
const kept = fc
  .record({ namespace: name, serviceAccount: name, secret: name, life: fc.integer({ min: 1 }) })
  .map(({ namespace, serviceAccount, secret, life }) => {
    const session: StoredSession = {
      key: `service-account:${namespace}/${serviceAccount}/uid`,
      scope: 'service-account',
      namespace,
      serviceAccount,
    };
    const role: RoleCredentials = {
      accessKeyId: `ASIA${secret}`,
      secretAccessKey: `key-${secret}`,
      sessionToken: `session-${secret}`,
      expiresAt: clock.now() + 1 + (life % (6 * HOUR)),
      subject: { namespace, serviceAccount },
      audience: AUDIENCE,
      associationArn: 'arn:aws:eks:us-east-1:111122223333:podidentityassociation/c/a-1',
      associationId: 'a-1',
      assumedRoleArn: `arn:aws:sts::111122223333:assumed-role/${serviceAccount}/session`,
      assumedRoleId: 'AROA:session',
      requestId: 'request',
    };
    const credentials: KeptCredentials = { role, fetchedAt: clock.now() - 1, version: life };
    return { session, kept: credentials };
  });

t.test('what was sealed opens as it was', async (t) => {
  const entries = entriesOf([key]);
  fc.assert(
    fc.property(kept, ({ session, kept }) => {
      const entry = entries.seal(session, kept);
      t.strictSame(entries.open(entry), { ok: true, session, kept });
    }),
    { numRuns: 50 },
  );
});

t.test('it says nothing to whoever lacks the key', async (t) => {
  const entries = entriesOf([key]);
  fc.assert(
    fc.property(kept, ({ session, kept }) => {
      const shown = JSON.stringify(entries.seal(session, kept));
      const bytes = Buffer.from(entries.seal(session, kept).sealed, 'base64url').toString('latin1');
      for (const secret of [kept.role.secretAccessKey, kept.role.sessionToken, session.key]) {
        if (shown.includes(secret) || bytes.includes(secret)) t.fail('it can be read');
      }
    }),
    { numRuns: 50 },
  );
  t.pass('nothing of it is there');
});

t.test('sealed again, it is another text', async (t) => {
  const entries = entriesOf([key]);
  fc.assert(
    fc.property(kept, ({ session, kept }) => {
      const [one, other] = [entries.seal(session, kept), entries.seal(session, kept)].map(
        ({ sealed }) => Buffer.from(sealed, 'base64url'),
      ) as [Buffer, Buffer];
      // Behind version and key id: two texts under one nonce would give both away.
      t.notSame(one.subarray(5, 17), other.subarray(5, 17), 'a nonce of its own');
      t.notSame(one.subarray(33), other.subarray(33));
    }),
    { numRuns: 50 },
  );
});

t.test('what contradicts itself does not open, though it was sealed with the key', async (t) => {
  const entries = entriesOf([key]);
  fc.assert(
    fc.property(kept, ({ session, kept }) => {
      const { role } = kept;
      const { namespace, serviceAccount } = role.subject;
      for (const change of [
        { subject: { namespace: `${namespace}x`, serviceAccount } },
        { subject: { namespace, serviceAccount: `${serviceAccount}x` } },
        { audience: 'sts.amazonaws.com' },
      ]) {
        const entry = entries.seal(session, { ...kept, role: { ...role, ...change } });
        t.match(entries.open(entry), { ok: false, reason: 'inconsistent' });
      }
      const entry = entries.seal(session, kept);
      const expiresAt = String(role.expiresAt + 1);
      const { name, version, fetchedAt } = entry;
      const context = ['entry', CLUSTER, name, version, fetchedAt, expiresAt];
      const sealed = new Sealer([key]).seal(JSON.stringify({ session, role }), context);
      const late = entries.open({ ...entry, expiresAt, sealed });
      t.match(
        late,
        { ok: false, reason: 'inconsistent' },
        'its end is not that of its credentials',
      );
    }),
    { numRuns: 20 },
  );
});

t.test('altered in any bit, it does not open', async (t) => {
  const entries = entriesOf([key]);
  fc.assert(
    fc.property(kept, fc.nat(), fc.integer({ min: 0, max: 7 }), ({ session, kept }, at, bit) => {
      const entry = entries.seal(session, kept);
      const bytes = Buffer.from(entry.sealed, 'base64url');
      const place = at % bytes.length;
      bytes[place] = (bytes[place] as number) ^ (1 << bit);
      t.equal(entries.open({ ...entry, sealed: bytes.toString('base64url') }).ok, false);
    }),
    { numRuns: 200 },
  );
});

t.test('shortened, it does not open', async (t) => {
  const entries = entriesOf([key]);
  fc.assert(
    fc.property(kept, fc.nat(), ({ session, kept }, length) => {
      const entry = entries.seal(session, kept);
      const sealed = entry.sealed.slice(0, length % entry.sealed.length);
      t.equal(entries.open({ ...entry, sealed }).ok, false);
    }),
    { numRuns: 100 },
  );
});

t.test('moved to another place, or given other times, it does not open', async (t) => {
  const entries = entriesOf([key]);
  fc.assert(
    fc.property(kept, kept, fc.integer({ min: 1, max: HOUR }), (one, other, by) => {
      fc.pre(one.session.key !== other.session.key);
      const entry = entries.seal(one.session, one.kept);
      const elsewhere = entries.seal(other.session, other.kept);
      const moved: Entry[] = [
        { ...entry, name: elsewhere.name },
        { ...elsewhere, sealed: entry.sealed },
        { ...entry, expiresAt: String(Number(entry.expiresAt) + by) },
        { ...entry, fetchedAt: String(Number(entry.fetchedAt) + by) },
        { ...entry, version: String(Number(entry.version) + by) },
      ];
      for (const each of moved) t.match(entries.open(each), { ok: false });
    }),
    { numRuns: 50 },
  );
});

t.test('of another key, cluster or node, it does not open', async (t) => {
  fc.assert(
    fc.property(kept, ({ session, kept }) => {
      const entry = entriesOf([key]).seal(session, kept);
      t.match(entriesOf([randomBytes(32)]).open(entry), { ok: false, reason: 'undecryptable' });
      t.match(entriesOf([key], 'staging').open(entry), { ok: false, reason: 'undecryptable' });
      t.match(entriesOf([key], CLUSTER, 'node-2').open(entry), {
        ok: false,
        reason: 'wrong-key-name',
      });
    }),
    { numRuns: 20 },
  );
});

t.test('past its credentials, it does not open', async (t) => {
  const entries = entriesOf([key]);
  const [one] = fc.sample(kept, 1);
  if (one === undefined) throw new Error('no sample');
  const entry = entries.seal(one.session, one.kept);
  await clock.advance(7 * HOUR);
  t.match(entries.open(entry), { ok: false, reason: 'expired' });
  t.match(entries.open({ ...entry, expiresAt: 'never' }), { ok: false, reason: 'expired' });
});

t.test('of two keys, the first seals and both open', async (t) => {
  const [old, next] = [randomBytes(32), randomBytes(32)];
  const [one] = fc.sample(kept, 1);
  if (one === undefined) throw new Error('no sample');
  const { session } = one;
  const role = { ...one.kept.role, expiresAt: clock.now() + HOUR };
  const before = entriesOf([old]).seal(session, { ...one.kept, role });
  const rolling = entriesOf([next, old]);
  t.ok(rolling.open(before).ok, 'what the old key sealed');
  const after = rolling.seal(session, { ...one.kept, role });
  t.ok(entriesOf([next]).open(after).ok, 'what the new key sealed');
  t.notOk(entriesOf([old]).open(after).ok, 'the old one is not used any more');
  t.not(before.name, after.name, 'names have a key too');
});
