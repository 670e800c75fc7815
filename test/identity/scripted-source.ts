import type { JSONWebKeySet, JWK } from 'jose';
import type { KeySource } from '../../src/identity/key-sources.ts';

/** A source of keys that gives what the test puts into it. */
export class ScriptedSource implements KeySource {
  readonly name: string;
  /** How often it was asked. */
  asked = 0;
  /** What it gives; undefined: it fails. */
  keys: readonly JWK[] | undefined;
  #gate: PromiseWithResolvers<void> | undefined;

  constructor(name: string, keys?: readonly JWK[]) {
    this.name = name;
    this.keys = keys;
  }

  /** From now on nothing is answered until {@link release}. */
  hold(): void {
    this.#gate ??= Promise.withResolvers();
  }

  release(): void {
    this.#gate?.resolve();
    this.#gate = undefined;
  }

  async fetch(): Promise<JSONWebKeySet> {
    this.asked += 1;
    await this.#gate?.promise;
    if (this.keys === undefined) throw new Error(`${this.name} is away`);
    return { keys: [...this.keys] };
  }
}

/** A key that is published; nothing is ever verified under it. */
export function published(kid: string | undefined, material = `material-of-${kid}`): JWK {
  return { kty: 'RSA', n: material, e: 'AQAB', alg: 'RS256', ...(kid !== undefined && { kid }) };
}
