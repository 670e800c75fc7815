import { SESSION_SCOPES, type SessionScope } from '../../src/config/config.ts';
import type { Bench } from '../scenario.ts';

/** What is measured side by side: our program by scope, and another agent where one was named. */
export type Variant = SessionScope | 'peer';

/** The variants of a run. */
export function variants({ peer }: Pick<Bench, 'peer'>): Variant[] {
  return [...SESSION_SCOPES, ...(peer === undefined ? [] : (['peer'] as const))];
}

/** How a variant is labelled: `token` is the baseline, and says what it is not. */
export const VARIANT_LABEL: Readonly<Record<Variant, string>> = {
  'service-account': 'service-account scope',
  pod: 'pod scope',
  token: "token scope (the existing agent's key up to 0.1.x)",
  peer: 'peer',
};

/** A variant, and what each of its rounds came to. */
export interface Measured<T> {
  readonly variant: Variant;
  readonly rounds: readonly T[];
}

/** How often everything is done: once, and beside a peer as configured, A B A B. */
export function roundsOf({ peer, config }: Pick<Bench, 'peer' | 'config'>): number {
  return peer === undefined ? 1 : config.peer.rounds;
}

/**
 * Measures every case in turns: A B, and beside a peer A B A B, since all of them use the one
 * EKS Auth that the peer uses.
 *
 * @returns What the rounds of each case came to.
 */
export async function inTurns<Case, T>(
  bench: Pick<Bench, 'peer' | 'config'>,
  cases: readonly Case[],
  measure: (one: Case) => Promise<T>,
): Promise<T[][]> {
  const rounds = cases.map((): T[] => []);
  for (let round = 0; round < roundsOf(bench); round += 1) {
    for (const [index, one] of cases.entries()) rounds[index]?.push(await measure(one));
  }
  return rounds;
}

/**
 * Measures cases at the same time, where each has a broker and an EKS Auth of its own and mostly
 * waits; beside a peer {@link inTurns}.
 */
export async function sideBySide<Case, T>(
  bench: Pick<Bench, 'peer' | 'config'>,
  cases: readonly Case[],
  measure: (one: Case) => Promise<T>,
): Promise<T[][]> {
  if (bench.peer !== undefined) return await inTurns(bench, cases, measure);
  return (await Promise.all(cases.map(measure))).map((figures) => [figures]);
}

/** The same for the {@link variants} of a run. */
export async function variantsSideBySide<T>(
  bench: Pick<Bench, 'peer' | 'config'>,
  measure: (variant: Variant) => Promise<T>,
): Promise<Measured<T>[]> {
  const all = variants(bench);
  const rounds = await sideBySide(bench, all, measure);
  return all.map((variant, index) => ({ variant, rounds: rounds[index] ?? [] }));
}

/** How {@link sideBySide} went, for whoever reads the figures. */
export function sideBySideNote(bench: Pick<Bench, 'peer' | 'config'>): string {
  return bench.peer === undefined
    ? 'The scopes ran at the same time, each with a broker and an EKS Auth of its own.'
    : `All ran in turns on the peer’s EKS Auth, ${roundsOf(bench)} rounds: median (least–most).`;
}

/** The same in few words, for the progress. */
export function sideBySideWords({ peer }: Pick<Bench, 'peer'>): string {
  return peer === undefined ? 'all scopes at once' : 'in turns';
}
