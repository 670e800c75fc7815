import t from 'tap';
import { type PendingCall, SessionsHarness } from '../support/sessions-harness.ts';

// How soon all sessions of a large node are there when EKS Auth is back, and what it meets.

const SESSIONS = 250;
const LATENCY = 100;
const ATTEMPT_TIMEOUT = 10_000;
/** Probes are two seconds apart at most; six rounds of answers follow. */
const WITHIN = 3_000;
/** A call that nobody answers is made again after six seconds. */
const OVERDUE_AFTER = 6_000;

for (const [how, answer, within] of [
  ['refuses connections', { kind: 'network', code: 'ECONNREFUSED', after: 1 }, WITHIN],
  ['fails', { kind: 'service', code: 'InternalServerException', after: LATENCY }, WITHIN],
  // What was sent into it is lost.
  [
    'answers nobody',
    { kind: 'network', code: 'TIMEOUT', after: ATTEMPT_TIMEOUT },
    OVERDUE_AFTER + WITHIN,
  ],
] as const) {
  for (const lasted of [1_000, 15_000, 100_000]) {
    t.test(`EKS Auth ${how} for ${lasted / 1_000} s`, async (t) => {
      const h = new SessionsHarness({ random: () => 0.5 });
      let away = true;
      let calls = 0;
      let inFlight = 0;
      let peak = 0;
      const later = (after: number, then: () => void) => h.clock.setTimeout(then, after);
      h.auto = (call: PendingCall) => {
        if (away) {
          const { after, ...failure } = answer;
          later(after, () => call.fail(failure));
          return;
        }
        calls += 1;
        inFlight += 1;
        peak = Math.max(peak, inFlight);
        later(LATENCY, () => {
          inFlight -= 1;
          call.grant();
        });
      };
      let served = 0;
      const insist = async (index: number) => {
        const pod = h.pod(`app-${index}`, `app-${index}-1`);
        while (!(await h.fetch(pod)).ok) await new Promise<void>((then) => later(1_000, then));
        served += 1;
      };
      const all = Promise.all(Array.from({ length: SESSIONS }, (_, index) => insist(index)));
      await h.clock.advance(lasted);
      t.equal(served, 0);
      away = false;
      await h.clock.advance(within);
      t.equal(served, SESSIONS, 'all are there in time');
      t.ok(calls <= SESSIONS + 4, `${calls} calls`);
      // Calls that are lost without a failure are made again with the first answer, as many as
      // they were.
      if (lasted > answer.after) t.ok(peak <= 64, `at most ${peak} at once`);
      await all;
      await h.clock.advance(ATTEMPT_TIMEOUT);
      t.equal(h.queue.underWay + h.queue.waiting, 0);
    });
  }
}
