import { spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { setTimeout as pause } from 'node:timers/promises';
import type { NodeNamespace } from '../../src/simulator/netns.ts';
import { needsNamespaces } from '../support/needs.ts';
import type { Manifest } from './chart.ts';

/** The image that is tried; `deploy/image/build.sh` makes it. */
const IMAGE = process.env.IMAGE ?? 'localhost/pod-identity-broker:test';

/** Capabilities of a privileged container, as far as anything here uses them. */
const PRIVILEGED = [
  'NET_ADMIN',
  'CHOWN',
  'FOWNER',
  'DAC_OVERRIDE',
  'NET_BIND_SERVICE',
  'SYS_ADMIN',
];

/** What a container has that does not say otherwise, as containerd gives it. */
const DEFAULT = [
  ...['CHOWN', 'DAC_OVERRIDE', 'FSETID', 'FOWNER', 'MKNOD', 'NET_RAW', 'SETGID', 'SETUID'],
  ...['SETFCAP', 'SETPCAP', 'NET_BIND_SERVICE', 'SYS_CHROOT', 'KILL', 'AUDIT_WRITE'],
];

/** What the kubelet puts in the place of a pod's own fields. */
const FIELDS: Readonly<Record<string, string>> = {
  'spec.nodeName': 'node-1',
  'status.hostIP': '127.0.0.1',
};

/** The image, and a runtime for it: the reason why they are not there, as tap's `skip`. */
export function needsImage(): string | false {
  const namespaces = needsNamespaces();
  if (namespaces !== false) return namespaces;
  if (process.env.CI === 'true') return false;
  for (const program of ['buildah', 'crun']) {
    if (spawnSync(program, ['--version']).status !== 0) return `${program} is not installed`;
  }
  const there = spawnSync('buildah', ['inspect', '--type=image', IMAGE]).status === 0;
  return there ? false : `there is no image ${IMAGE} (deploy/image/build.sh ${IMAGE} --stand-in)`;
}

/** The configuration of the image, as Docker has it. */
export function imageConfig(): Manifest {
  return JSON.parse(buildah('inspect', '--type=image', IMAGE)).Docker.config;
}

/** The image's files, for as long as a test runs. */
export function imageFiles(t: { teardown(callback: () => void): unknown }): string {
  const container = buildah('from', IMAGE);
  t.teardown(() => buildah('rm', container));
  return buildah('mount', container);
}

function buildah(...args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync('buildah', args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`buildah ${args.join(' ')}: ${stderr}`);
  return stdout.trim();
}

/** How a container is run. */
export interface ContainerOptions {
  readonly node: NodeNamespace;
  readonly files: string;
  /** A folder of the test's own. */
  readonly folder: string;
  /** What is mounted in the place of volumes: name → folder. */
  readonly volumes: Readonly<Record<string, string>>;
  /** The container as a pod has it. */
  readonly container: Manifest;
  /** In place of the image's entry point. */
  readonly entrypoint?: readonly string[];
  /** Beside the container's own. */
  readonly env?: Readonly<Record<string, string>>;
}

/** A container that runs. */
export interface RunningContainer {
  /** Its exit code and output, once it has ended. */
  readonly ended: Promise<{ code: number | null; stdout: string; stderr: string }>;
  /** Resolves when its output has `text`, or it has ended. */
  said(text: string): Promise<void>;
  stop(): void;
}

/**
 * Runs a container of the image as the kubelet has a runtime do it on the host's network: user,
 * capabilities, privileges, root file system and mounts are those of its security context.
 */
export function runContainer(options: ContainerOptions): RunningContainer {
  const id = `pib-${randomBytes(4).toString('hex')}`;
  const bundle = `${options.folder}/${id}`;
  mkdirSync(bundle, { recursive: true });
  writeFileSync(`${bundle}/config.json`, JSON.stringify(runtimeConfig(options)));
  const state = `--root=${options.folder}/crun`;
  // crun asks for the cgroup file system, which a new network namespace's /sys does not have.
  const script = `mount -t cgroup2 none /sys/fs/cgroup
    exec crun ${state} --cgroup-manager=disabled run --bundle=${bundle} ${id}`;
  const child = options.node.exec('/usr/bin/unshare', ['--mount', '/bin/sh', '-c', script], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env.PATH },
  });
  let output = '';
  child.stdout?.on('data', (chunk: Buffer) => {
    output += chunk;
  });
  const ended = Promise.all([
    once(child, 'close'),
    text(child.stdout as NodeJS.ReadableStream),
    text(child.stderr as NodeJS.ReadableStream),
  ]).then(([[code], stdout, stderr]) => ({ code: code as number | null, stdout, stderr }));
  return {
    ended,
    said: async (text) => {
      const over = ended.then(() => true);
      while (!output.includes(text)) {
        if (await Promise.race([over, pause(20, false)])) return;
      }
    },
    stop: () => void spawn('crun', [state, 'kill', id, 'TERM'], { stdio: 'ignore' }),
  };
}

/** The capabilities of a security context, without `CAP_`; Kubernetes takes them with it too. */
function capabilitiesOf({ privileged, capabilities = {} }: Manifest): readonly string[] {
  if (privileged) return PRIVILEGED;
  const { add = [], drop = [] } = capabilities;
  const added = add.map((name: string) => name.replace(/^CAP_/, ''));
  return [...new Set([...(drop.includes('ALL') ? [] : DEFAULT), ...added])];
}

/** @see https://github.com/opencontainers/runtime-spec/blob/main/config.md */
function runtimeConfig({ files, volumes, container, entrypoint, env = {} }: ContainerOptions) {
  const image = imageConfig();
  const { securityContext: security } = container;
  const user = security.runAsUser ?? Number(image.User.split(':')[0]);
  const capabilities = capabilitiesOf(security).map((name) => `CAP_${name}`);
  const variables = (container.env ?? []).map(({ name, value, valueFrom }: Manifest) => ({
    name,
    value: value ?? FIELDS[valueFrom.fieldRef.fieldPath],
  }));
  return {
    ociVersion: '1.0.0',
    process: {
      user: { uid: user, gid: security.runAsGroup ?? user },
      args: [...(entrypoint ?? image.Entrypoint), ...(container.args ?? [])],
      env: [
        ...image.Env,
        ...variables.map(({ name, value }: Manifest) => `${name}=${value}`),
        ...Object.entries(env).map(([name, value]) => `${name}=${value}`),
      ],
      cwd: image.WorkingDir,
      // As containerd has it: nothing that is inherited, nothing ambient.
      capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
      noNewPrivileges: security.allowPrivilegeEscalation === false,
    },
    root: { path: files, readonly: security.readOnlyRootFilesystem === true },
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc' },
      { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=755'] },
      ...(container.volumeMounts ?? []).map(({ name, mountPath, readOnly }: Manifest) => ({
        destination: mountPath,
        type: 'bind',
        source: volumes[name],
        options: ['bind', readOnly ? 'ro' : 'rw'],
      })),
    ],
    linux: {
      namespaces: [{ type: 'mount' }, { type: 'pid' }, { type: 'ipc' }],
      ...(!security.privileged && { readonlyPaths: ['/proc/sys'] }),
    },
  };
}
