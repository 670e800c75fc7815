// Makes the schemas that kubeconform checks manifests against, from the API's own description in
// the Go module k8s.io/kubernetes, and from the ServiceMonitor's definition in that of the
// Prometheus operator, into the cache of chart-tools.mjs. Prints the folder.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parse } from 'yaml';
import { chartToolsFolder } from './chart-tools.mjs';

const KUBERNETES = 'k8s.io/kubernetes@v1.34.1';
const OPERATOR = 'github.com/prometheus-operator/prometheus-operator@v0.85.0';
const SERVICE_MONITOR =
  'example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml';

const QUANTITY = 'io.k8s.apimachinery.pkg.api.resource.Quantity';

/** Where the schemas are, a file each as kubeconform looks for it: `<kind>-<group's first word>-<version>.json`. */
export function schemasFolder() {
  return join(
    dirname(chartToolsFolder()),
    `schemas-${KUBERNETES}_${OPERATOR}`.replace(/[/@]/g, '-'),
  );
}

/** Why they cannot be had here; undefined when they are there, or were made now. */
export function makeSchemas() {
  const folder = schemasFolder();
  if (existsSync(folder)) return undefined;
  const kubernetes = download(KUBERNETES);
  const operator = download(OPERATOR);
  if (kubernetes === undefined || operator === undefined) return 'Go cannot fetch the schemas';
  const made = `${folder}.${process.pid}`;
  mkdirSync(made, { recursive: true });
  const write = (kind, group, version, schema) => {
    const name = [kind, ...(group === '' ? [] : [group.split('.')[0]]), version]
      .join('-')
      .toLowerCase();
    writeFileSync(join(made, `${name}.json`), JSON.stringify(schema));
  };
  const api = JSON.parse(readFileSync(join(kubernetes, 'api/openapi-spec/swagger.json'), 'utf8'));
  const definitions = Object.fromEntries(
    Object.entries(api.definitions).map(([name, schema]) => [name, strict(schema)]),
  );
  // The API reads a bare number too.
  definitions[QUANTITY] = { type: ['string', 'number'] };
  for (const [name, schema] of Object.entries(api.definitions)) {
    const [only, ...others] = schema['x-kubernetes-group-version-kind'] ?? [];
    if (only === undefined || others.length > 0) continue;
    write(only.kind, only.group, only.version, { $ref: `#/definitions/${name}`, definitions });
  }
  const { spec } = parse(readFileSync(join(operator, SERVICE_MONITOR), 'utf8'));
  for (const { name, schema } of spec.versions) {
    const monitor = strict(schema.openAPIV3Schema);
    monitor.properties.metadata = {
      $ref: '#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta',
    };
    write(spec.names.kind, spec.group, name, { ...monitor, definitions });
  }
  renameSync(made, folder);
  return undefined;
}

/** The folder of a Go module's files. */
function download(module) {
  const done = spawnSync('go', ['mod', 'download', '-json', module], {
    encoding: 'utf8',
    cwd: '/',
  });
  return done.status === 0 ? JSON.parse(done.stdout).Dir : undefined;
}

/** An API's schema as JSON Schema: fields that it does not know are wrong; null is no value. */
function strict(schema) {
  if (Array.isArray(schema)) return schema.map(strict);
  if (typeof schema !== 'object' || schema === null) return schema;
  if (schema.format === 'int-or-string' || schema['x-kubernetes-int-or-string']) {
    return { type: ['string', 'integer'] };
  }
  const made = {};
  for (const [key, value] of Object.entries(schema)) {
    if (key === 'properties') {
      made.properties = Object.fromEntries(
        Object.entries(value).map(([name, one]) => [name, strict(one)]),
      );
    } else if (key !== 'format' && key !== 'description' && !key.startsWith('x-kubernetes-')) {
      made[key] = strict(value);
    }
  }
  const open = schema.additionalProperties || schema['x-kubernetes-preserve-unknown-fields'];
  if (schema.properties !== undefined && !open) made.additionalProperties = false;
  return made;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const problem = makeSchemas();
  if (problem !== undefined) {
    process.stderr.write(`${problem}\n`);
    process.exit(1);
  }
  process.stdout.write(`${schemasFolder()}\n`);
}
