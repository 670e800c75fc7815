import { SESSION_SCOPES, type SessionScope } from '../../src/config/config.ts';
import { createRandom } from '../../src/simulator/random.ts';
import { callsPerHour } from '../fleet/node-day.ts';
import { playRollout, type RolloutResult } from '../fleet/rollout.ts';
import { VARIANT_LABEL } from '../harness/variants.ts';
import type { Chart, Colour } from '../report/chart.ts';
import { count, span } from '../report/format.ts';
import type { Bench, Scenario } from '../scenario.ts';
import { nodeOfPods } from './density.ts';

/** A scope, or nodes that share their sessions in Redis. */
type FleetKind = SessionScope | 'shared';

const KINDS: readonly FleetKind[] = ['shared', ...SESSION_SCOPES];

const LABEL: Readonly<Record<FleetKind, string>> = {
  ...VARIANT_LABEL,
  shared: 'service-account scope, shared in Redis',
};

/** The fleet that is told of first, where it is among those that are played. */
const TOLD_OF = 1_000;

/** A fleet of one kind. */
interface FleetFigures extends RolloutResult {
  readonly kind: FleetKind;
  readonly nodes: number;
  readonly callsPerHour: number;
}

/** A whole account's nodes start everything at once, and live on: played on a virtual clock. */
export const fleet: Scenario = {
  name: 'fleet',
  shows: 'thousands of nodes under one account-wide quota, by events on a virtual clock',
  async run(bench) {
    const plan = bench.config.fleet;
    const figures: FleetFigures[] = [];
    const measured: Record<string, NodeFigures> = {};
    // Only calls are counted, so that real nodes of all scopes may run at the same time.
    const starts = await Promise.all(SESSION_SCOPES.map((scope) => callsAtStart(bench, scope)));
    for (const [index, scope] of SESSION_SCOPES.entries()) {
      bench.progress(`${scope}: days of one node, with the broker's own sessions`);
      const node = { calls: starts[index] as number, callsPerHour: await hourly(bench, scope) };
      measured[scope] = node;
      for (const nodes of plan.nodes) {
        bench.progress(`${scope}: a rollout over ${count(nodes)} nodes`);
        // Lets the progress be seen: what comes now holds the thread up.
        await new Promise((resolve) => setImmediate(resolve));
        const rollout = (callingNodes: number) =>
          playRollout({
            nodes: callingNodes,
            callsPerNode: node.calls,
            spreadMs: plan.rolloutSeconds * 1_000,
            quota: plan.quota,
            latency: plan.latency,
            throttleMs: plan.throttleMs,
            random: createRandom(bench.config.seed),
          });
        const callsPerHour = nodes * node.callsPerHour;
        figures.push({ kind: scope, nodes, callsPerHour, ...rollout(nodes) });
        if (scope !== 'service-account') continue;
        // Of all nodes that share a session one calls for it, as the scenario `cluster` shows.
        const alone = { callsPerHour: node.callsPerHour, ...rollout(1) };
        figures.push({ kind: 'shared', nodes, ...alone });
      }
    }
    const ordered = KINDS.flatMap((kind) => figures.filter((one) => one.kind === kind));
    return {
      headlines: headlines(figures, plan.nodes),
      tables: [
        {
          title: `fleet (simulated): ${plan.node.pods} pods a node start within ${plan.rolloutSeconds} s, quota ${count(plan.quota.rate)}/s for all nodes`,
          columns: ['', 'until all have credentials', 'calls', 'throttled', 'calls/h later'],
          rows: ordered.map((one) => [
            `${count(one.nodes)} ${one.nodes === 1 ? 'node' : 'nodes'} – ${LABEL[one.kind]}`,
            done(one),
            count(one.calls),
            count(one.throttled),
            one.callsPerHour < 10 ? one.callsPerHour.toFixed(1) : count(one.callsPerHour),
          ]),
          notes: [
            'Calls of a node at its start were measured with real processes in this run; how nodes',
            'pace their calls, and how sessions live on for days, is the broker’s own code on a',
            'virtual clock. Nobody gives up: pods go on asking until they are served. Shared in Redis:',
            'one node calls for all, and nobody waits for Redis; the scenario cluster has it measured.',
          ],
        },
      ],
      charts: charts(ordered),
      figures: { measured, figures: ordered },
    };
  },
};

/** What one node calls for. */
interface NodeFigures {
  /** Until all of its pods have credentials. */
  readonly calls: number;
  /** Later on. */
  readonly callsPerHour: number;
}

/** Calls of a real node whose pods all start at once. */
async function callsAtStart(bench: Bench, scope: SessionScope): Promise<number> {
  const { first } = await nodeOfPods({ ...bench, peer: undefined }, bench.config.fleet.node, scope);
  return first.calls - first.throttled;
}

/** Calls an hour of a node in steady state, on a virtual clock. */
async function hourly(bench: Bench, scope: SessionScope): Promise<number> {
  const { node, latency, settleHours, countHours } = bench.config.fleet;
  return await callsPerHour({
    scope,
    ...node,
    latency: latency.median,
    settleHours,
    countHours,
    random: createRandom(bench.config.seed),
  });
}

function headlines(figures: readonly FleetFigures[], nodes: readonly number[]): string[] {
  const told = nodes.includes(TOLD_OF) ? TOLD_OF : Math.max(...nodes);
  const of = (kind: FleetKind) => figures.find((one) => one.kind === kind && one.nodes === told);
  const [shared, apart, baseline] = [of('shared'), of('service-account'), of('token')];
  if (!shared || !apart || !baseline) return [];
  return [
    `a rollout over ${count(told)} nodes (simulated) is done after ${done(shared)} with sessions shared in Redis, ` +
      `${done(apart)} without, in token scope ${done(baseline)}`,
  ];
}

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
    lines: KINDS.map((kind) => ({
      label: LABEL[kind],
      colour: (kind === 'shared' ? 'redis' : kind) satisfies Colour,
      points: figures
        .filter((one) => one.kind === kind)
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
