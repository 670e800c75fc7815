import type { Explanation } from '../sessions/explanation.ts';
import type { Components } from './components.ts';

/** What the broker would do with a token, and why. */
export async function explain(token: string, components: Components): Promise<Explanation> {
  // It decodes tokens, which the main thread does not need otherwise.
  const { explainToken } = await import('../sessions/explanation.ts');
  const { clock, config, identity, keyRing, sessions, pods } = components;
  return await explainToken(token, {
    clock,
    identity,
    keyRing,
    sessions,
    scopeRules: config,
    expected: { audience: config.tokenAudience, nodeName: config.nodeName },
    podGate: pods?.gate,
  });
}
