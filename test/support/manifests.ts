import { readFileSync } from 'node:fs';
import { parseAllDocuments } from 'yaml';
import type { ApiServer, KubernetesObject } from './api-server.ts';

/** Where objects of each kind are made that the project's manifests have. */
const PATHS: Readonly<Record<string, string>> = {
  ClusterRole: '/apis/rbac.authorization.k8s.io/v1/clusterroles',
  ClusterRoleBinding: '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings',
  ValidatingAdmissionPolicy: '/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies',
  ValidatingAdmissionPolicyBinding:
    '/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings',
};

/** Makes the objects of a file of `deploy/manifests`, and gives them as they were made. */
export async function applyManifest(api: ApiServer, name: string): Promise<KubernetesObject[]> {
  const file = new URL(`../../deploy/manifests/${name}.yaml`, import.meta.url);
  const objects = parseAllDocuments(readFileSync(file, 'utf8')).map(
    (document) => document.toJS() as KubernetesObject,
  );
  const made: KubernetesObject[] = [];
  for (const body of objects) {
    const path = PATHS[body.kind];
    if (path === undefined) throw new Error(`${name}.yaml: what is a ${body.kind}?`);
    made.push(await api.done(path, { method: 'POST', body }));
  }
  return made;
}
