import t from 'tap';
import { Denials } from '../../src/sessions/denials.ts';

t.test('the only session of a node: nothing tells it from the node', async (t) => {
  const denials = new Denials();
  t.equal(denials.denied('a', 0, 0), 'own');
  t.equal(denials.alarmed, false);
});

t.test('one session, while another was granted since: its own', async (t) => {
  const denials = new Denials();
  t.equal(denials.denied('a', 5, 0), 'unclear', 'nothing was granted since');
  denials.granted('b', 1);
  t.equal(denials.denied('a', 5, 2), 'own');
  t.equal(denials.alarmed, false);
});

t.test('what was granted before the first denial says nothing', async (t) => {
  const denials = new Denials();
  denials.granted('b', 0);
  t.equal(denials.denied('a', 5, 1), 'unclear');
});

t.test('one session over and over, without a sign either way: its own', async (t) => {
  const denials = new Denials();
  t.strictSame(
    [0, 1, 2].map((at) => denials.denied('a', 5, at)),
    ['unclear', 'unclear', 'own'],
  );
  t.equal(denials.denied('a', 5, 3), 'unclear', 'and from then on it is counted anew');
});

t.test('two sessions with nothing granted: the node, said once', async (t) => {
  const denials = new Denials();
  t.equal(denials.denied('a', 5, 0), 'unclear');
  t.equal(denials.denied('b', 5, 1), 'alarm');
  t.equal(denials.alarmed, true);
  for (const at of [2, 3, 4, 5])
    t.equal(denials.denied('a', 5, at), 'node', 'it keeps what it has');
  denials.granted('c', 6);
  t.equal(denials.alarmed, false, 'the node may ask after all');
  t.equal(denials.denied('b', 5, 7), 'own');
  t.equal(denials.denied('d', 5, 8), 'unclear');
  t.equal(denials.denied('e', 5, 9), 'alarm', 'a second time is news again');
});

t.test('a session that was granted is denied for the first time afterwards', async (t) => {
  const denials = new Denials();
  denials.denied('a', 5, 0);
  denials.denied('a', 5, 1);
  denials.granted('a', 2);
  t.equal(denials.denied('a', 5, 3), 'unclear');
});

t.test('a session that has ended counts for nothing', async (t) => {
  const denials = new Denials();
  denials.denied('a', 5, 0);
  denials.forget('a');
  t.equal(denials.denied('b', 5, 1), 'unclear', 'it is the only one that is denied');
});
