import { SESSION_SCOPES, type SessionScope } from '../../src/config/config.ts';
import { createRandom } from '../../src/simulator/random.ts';
import { callsPerHour } from '../fleet/node-day.ts';
import { playRollout, type RolloutResult } from '../fleet/rollout.ts';
import { VARIANT_LABEL } from '../harness/target.ts';
import type { Chart } from '../report/chart.ts';
import { count, span } from '../report/format.ts';
import type { Scenario } from '../scenario.ts';
import { nodeOfPods } from './density.ts';

/** A fleet in one scope. */
interface FleetFigures extends RolloutResult {
  readonly scope: SessionScope;
  readonly nodes: number;
  readonly callsPerHour: number;
  /** Nodes share their sessions in Redis. */
  readonly shared: boolean;
}

/** A whole account's nodes start everything at once, and live on: played on a virtual clock. */
export const fleet: Scenario = {
  name: 'fleet',
  shows: 'thousands of nodes under one account-wide quota, by events on a virtual clock',
  async run(bench) {
    const { config, progress } = bench;
    const plan = config.fleet;
    const figures: FleetFigures[] = [];
    const measured: Record<string, { calls: number; perHour: number }> = {};
    for (const scope of SESSION_SCOPES) {
      const node = await nodeOfPods({ ...bench, peer: undefined }, plan.node, scope);
      progress(`${scope}: days of one node, with the broker's own sessions`);
      const perHour = await callsPerHour({
        scope,
        ...plan.node,
        latency: plan.latency.median,
        settleHours: plan.settleHours,
        countHours: plan.countHours,
        random: createRandom(config.seed),
      });
      measured[scope] = { calls: node.first.calls, perHour };
      for (const nodes of plan.nodes) {
        progress(`${scope}: a rollout over ${count(nodes)} nodes`);
        // Lets the progress be seen: what comes now holds the thread up.
        await new Promise((resolve) => setImmediate(resolve));
        const rollout = playRollout({
          nodes,
          callsPerNode: node.first.calls,
          spreadMs: plan.rolloutSeconds * 1_000,
          quota: plan.quota,
          latency: plan.latency,
          throttleMs: plan.throttleMs,
          random: createRandom(config.seed),
        });
        figures.push({ scope, nodes, callsPerHour: nodes * perHour, shared: false, ...rollout });
        if (scope !== 'service-account') continue;
        // Of all nodes that share a session one calls for it, as the scenario `cluster` shows.
        const shared = playRollout({
          nodes: 1,
          callsPerNode: node.first.calls,
          spreadMs: plan.rolloutSeconds * 1_000,
          quota: plan.quota,
          latency: plan.latency,
          throttleMs: plan.throttleMs,
          random: createRandom(config.seed),
        });
        figures.push({ scope, nodes, callsPerHour: perHour, shared: true, ...shared });
      }
    }
    const largest = (scope: SessionScope) =>
      figures.findLast((one) => one.scope === scope && !one.shared);
    const shared = largest('service-account');
    const baseline = largest('token');
    return {
      headlines:
        shared && baseline
          ? [
              `a rollout over ${count(shared.nodes)} nodes is done after ${done(shared)}, in token scope after ${done(baseline)}`,
            ]
          : [],
      tables: [
        {
          title: `fleet (simulated): ${plan.node.pods} pods a node start within ${plan.rolloutSeconds} s, quota ${count(plan.quota.rate)}/s for all nodes`,
          columns: ['', 'until all have credentials', 'calls', 'throttled', 'calls/h later'],
          rows: figures.map((one) => [
            `${count(one.nodes)} nodes – ${VARIANT_LABEL[one.scope]}${one.shared ? ', shared in Redis' : ''}`,
            done(one),
            count(one.calls),
            count(one.throttled),
            count(one.callsPerHour),
          ]),
          notes: [
            'Calls of a node at its start were measured with real processes in this run; how nodes',
            'pace their calls, and how sessions live on for days, is the broker’s own code on a',
            'virtual clock. Nobody gives up: pods go on asking until they are served. Shared in Redis:',
            'one node calls for all, and nobody waits for Redis; the scenario cluster has it measured.',
          ],
        },
      ],
      charts: charts(figures),
      figures: { measured, figures },
    };
  },
};

function done({ doneAfterMs, cutOff }: FleetFigures): string {
  return `${cutOff ? 'more than ' : ''}${span(doneAfterMs)}`;
}

function charts(figures: readonly FleetFigures[]): Chart[] {
  const curve = (
    title: string,
    label: string,
    unit: 's' | 'count',
    read: (one: FleetFigures) => number,
  ): Chart => ({
    kind: 'lines',
    title,
    x: { label: 'nodes', scale: 'log' },
    y: { label, unit, scale: 'log' },
    lines: SESSION_SCOPES.map((scope) => ({
      label: VARIANT_LABEL[scope],
      colour: scope,
      points: figures
        .filter((one) => one.scope === scope && !one.shared)
        .map((one) => [one.nodes, Math.max(read(one), 0.1)] as const),
    })),
  });
  return [
    curve(
      'A rollout of everything at once: until all pods have credentials',
      'until all pods have credentials',
      's',
      ({ doneAfterMs }) => doneAfterMs / 1_000,
    ),
    curve(
      'Calls to EKS Auth an hour once everything runs',
      'calls an hour',
      'count',
      (one) => one.callsPerHour,
    ),
  ];
}
