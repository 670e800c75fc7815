import type { PodFacts } from '../../src/kubernetes/pod.ts';

/** What is known of a pod on node `node-1`, `shop/cart`'s unless told otherwise. */
export function podFacts(name: string, change: Partial<PodFacts> = {}): PodFacts {
  return {
    uid: `uid-of-${name}`,
    namespace: 'shop',
    name,
    serviceAccount: 'cart',
    node: 'node-1',
    hostNetwork: false,
    finished: false,
    deleting: false,
    addresses: [],
    ...change,
  };
}

/** A pod as the API server writes it, with much that nobody asks for. */
export function podObject(
  name: string,
  change: {
    readonly node?: string;
    readonly version?: string;
    readonly spec?: object;
    readonly status?: object;
    readonly metadata?: object;
  } = {},
) {
  const { node = 'node-1', version = '1', spec, status, metadata } = change;
  return {
    kind: 'Pod',
    apiVersion: 'v1',
    metadata: {
      name,
      namespace: 'shop',
      uid: `uid-of-${name}`,
      resourceVersion: version,
      creationTimestamp: '2026-01-01T00:00:00Z',
      labels: { app: 'cart', items: '[{"not": "an item"}]' },
      managedFields: [{ manager: 'kubelet', fieldsV1: { 'f:status': {} } }],
      ...metadata,
    },
    spec: {
      nodeName: node,
      serviceAccountName: 'cart',
      containers: [{ name: 'app', args: ['a "quoted" \\ brace }]'] }],
      ...spec,
    },
    status: { phase: 'Running', ...status },
  };
}
