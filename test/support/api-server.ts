import { type ChildProcess, spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import {
  createWriteStream,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { freePort } from '../../src/simulator/free-port.ts';
import type { NodeNamespace } from '../../src/simulator/netns.ts';
import { buildKubernetesAssets } from './kubernetes-assets.ts';
import { until } from './until.ts';

// A real kube-apiserver over a real etcd, on loopback. What kubelet and controllers would do, the
// tests do themselves: bind pods, publish their addresses, let them end.

/** The audience of tokens for EKS Pod Identity. */
const AUDIENCE = 'pods.eks.amazonaws.com';
const ADMIN = 'the-token-of-the-admin';
const READY_WITHIN = 90_000;

/** An object of Kubernetes as JSON. */
// biome-ignore lint/suspicious/noExplicitAny: whatever kind it is of
export type KubernetesObject = any;

/** An answer of the API server. */
export interface ApiAnswer {
  readonly status: number;
  readonly body: KubernetesObject;
}

/** How to make a request. */
export interface ApiRequest {
  readonly method?: string;
  readonly body?: unknown;
  /** Whose it is; default the admin's. */
  readonly bearer?: string;
  /** Default: a merge patch for `PATCH`, else JSON. */
  readonly contentType?: string;
}

/** How a pod is to be; `shop/cart`'s on `node-1` by default, running. */
export interface PodOptions {
  readonly namespace?: string;
  readonly serviceAccount?: string;
  readonly node?: string;
  readonly addresses?: readonly string[];
  readonly phase?: string;
  readonly hostNetwork?: boolean;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** A pod that was made. */
export interface RealPod {
  readonly name: string;
  readonly uid: string;
  /** A token bound to the pod; default for EKS Pod Identity, `null` for the API server. */
  token(audience?: string | null): Promise<string>;
  /** What the kubelet says of it. */
  status(status: { addresses?: readonly string[]; phase?: string }): Promise<void>;
  /** Asks for its end: it stays, terminating, for its grace, which here never ends; 0: gone. */
  delete(grace?: number): Promise<void>;
}

/** Where an API server runs. */
export interface ApiServerOptions {
  /** Whose teardown stops it. */
  readonly t: { teardown(callback: () => unknown): unknown };
  /** A node in a network namespace; default this machine. */
  readonly node?: NodeNamespace;
}

/** A running API server. */
export class ApiServer {
  readonly #folder = mkdtempSync(join(tmpdir(), 'api-server-'));
  readonly #assets = buildKubernetesAssets();
  readonly #node: NodeNamespace | undefined;
  #etcdPort = 0;
  /** Its port where it runs, and where the tests reach it. */
  #port = 0;
  #reachedAt = 0;
  #etcd: ChildProcess | undefined;
  #server: ChildProcess | undefined;
  #names = 0;

  private constructor(node: NodeNamespace | undefined) {
    this.#node = node;
  }

  /** Starts etcd and the API server, which end with the test. */
  static async start({ t, node }: ApiServerOptions): Promise<ApiServer> {
    const api = new ApiServer(node);
    t.teardown(() => api.#close());
    await api.#open();
    return api;
  }

  /** The port that it has where it runs. */
  get port(): number {
    return this.#port;
  }

  /** The issuer of its tokens. */
  get issuer(): string {
    return `https://127.0.0.1:${this.#port}`;
  }

  async #open(): Promise<void> {
    [this.#etcdPort, this.#port] = [await freePort(), await freePort()];
    this.#reachedAt = this.#node === undefined ? this.#port : await this.#node.forward(this.#port);
    const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
    writeFileSync(this.#file('sa.key'), privateKey.export({ type: 'pkcs1', format: 'pem' }));
    writeFileSync(this.#file('tokens.csv'), `${ADMIN},admin,admin,"system:masters"\n`);
    const [clients, peers] = [this.#etcdPort, await freePort()].map(
      (port) => `http://127.0.0.1:${port}`,
    );
    this.#etcd = this.#run('etcd', [
      ...['--data-dir', this.#file('etcd'), '--unsafe-no-fsync', '--name=etcd'],
      ...[`--listen-client-urls=${clients}`, `--advertise-client-urls=${clients}`],
      ...[`--listen-peer-urls=${peers}`, `--initial-advertise-peer-urls=${peers}`],
      `--initial-cluster=etcd=${peers}`,
    ]);
    await this.up();
    for (const namespace of ['shop', 'kube-system']) await this.#ensureNamespace(namespace);
  }

  /** Starts the API server (again), and waits until it is ready. */
  async up(): Promise<void> {
    this.#server = this.#run('kube-apiserver', [
      `--etcd-servers=http://127.0.0.1:${this.#etcdPort}`,
      `--cert-dir=${this.#file('certificates')}`,
      `--secure-port=${this.#port}`,
      '--bind-address=127.0.0.1',
      '--advertise-address=192.0.2.1',
      '--endpoint-reconciler-type=none',
      `--service-account-key-file=${this.#file('sa.key')}`,
      `--service-account-signing-key-file=${this.#file('sa.key')}`,
      `--service-account-issuer=${this.issuer}`,
      `--service-account-jwks-uri=${this.issuer}/openid/v1/jwks`,
      `--token-auth-file=${this.#file('tokens.csv')}`,
      '--authorization-mode=Node,RBAC',
      '--service-cluster-ip-range=10.100.0.0/16',
      '--disable-admission-plugins=ServiceAccount',
      '--allow-privileged=true',
    ]);
    await until(
      async () => {
        if (this.#server?.exitCode !== null) throw new Error(`it ended: ${this.#logged()}`);
        const ready = await this.request('/readyz').catch(() => undefined);
        return ready?.status === 200;
      },
      () => `the API server is not ready: ${this.#logged()}`,
      READY_WITHIN,
    );
  }

  /** Kills the API server; what it knows is in etcd. */
  async down(): Promise<void> {
    await ended(this.#server);
  }

  /** Makes a request; its body is sent as JSON. */
  request(path: string, given: ApiRequest = {}): Promise<ApiAnswer> {
    const { method = 'GET', body, bearer = ADMIN } = given;
    const patch = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json';
    const { contentType = patch } = given;
    const { promise, resolve, reject } = Promise.withResolvers<ApiAnswer>();
    const asked = request({
      host: '127.0.0.1',
      port: this.#reachedAt,
      path,
      method,
      agent: false,
      ca: this.ca,
      headers: { Authorization: `Bearer ${bearer}`, 'Content-Type': contentType },
    });
    asked.on('error', reject);
    asked.on('response', (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('error', reject);
      response.on('end', () => {
        const { statusCode: status = 0 } = response;
        resolve({ status, body: text.startsWith('{') ? JSON.parse(text) : text });
      });
    });
    asked.end(body === undefined ? undefined : JSON.stringify(body));
    return promise;
  }

  /** Makes a request as the admin that has to succeed, and gives what was answered. */
  async done(path: string, given?: ApiRequest): Promise<KubernetesObject> {
    const { status, body } = await this.request(path, given);
    if (status >= 300) {
      throw new Error(`${given?.method ?? 'GET'} ${path}: ${status} ${JSON.stringify(body)}`);
    }
    return body;
  }

  /** Makes objects, as `kubectl create` does. */
  async create(path: string, ...objects: readonly object[]): Promise<void> {
    for (const body of objects) await this.done(path, { method: 'POST', body });
  }

  /** Makes a pod, with its service account and its node where they are not there yet. */
  async pod(options: PodOptions = {}): Promise<RealPod> {
    const { namespace = 'shop', serviceAccount = 'cart', node = 'node-1' } = options;
    const { addresses, phase = 'Running', hostNetwork, annotations } = options;
    await this.node(node);
    const accounts = `/api/v1/namespaces/${namespace}/serviceaccounts`;
    await this.#ensure(accounts, { metadata: { name: serviceAccount } });
    this.#names += 1;
    const name = `${serviceAccount}-${this.#names}`;
    const pods = `/api/v1/namespaces/${namespace}/pods`;
    const made = await this.done(pods, {
      method: 'POST',
      body: {
        metadata: { name, ...(annotations && { annotations }) },
        spec: {
          nodeName: node,
          serviceAccountName: serviceAccount,
          ...(hostNetwork === true && { hostNetwork }),
          containers: [{ name: 'app', image: 'app' }],
        },
      },
    });
    const { uid } = made.metadata;
    const pod: RealPod = {
      name,
      uid,
      token: async (audience = AUDIENCE) => {
        const boundObjectRef = { apiVersion: 'v1', kind: 'Pod', name, uid };
        const audiences = audience === null ? {} : { audiences: [audience] };
        const answer = await this.done(`${accounts}/${serviceAccount}/token`, {
          method: 'POST',
          body: { spec: { ...audiences, expirationSeconds: 86_400, boundObjectRef } },
        });
        return answer.status.token;
      },
      status: async (status) => {
        const published = status.addresses && {
          podIP: status.addresses[0],
          podIPs: status.addresses.map((ip) => ({ ip })),
        };
        await this.done(`${pods}/${name}/status`, {
          method: 'PATCH',
          body: { status: { ...published, ...(status.phase && { phase: status.phase }) } },
        });
      },
      delete: async (gracePeriodSeconds = 0) => {
        await this.done(`${pods}/${name}?gracePeriodSeconds=${gracePeriodSeconds}`, {
          method: 'DELETE',
        });
      },
    };
    await pod.status({ phase, ...(addresses && { addresses }) });
    return pod;
  }

  /** Makes a node, where it is not there yet. */
  async node(name: string, spec: object = {}): Promise<void> {
    await this.#ensure('/api/v1/nodes', { metadata: { name }, spec });
  }

  /**
   * The way that a broker's pod has to the API server, as a kubeconfig.
   *
   * @param port - Default: straight to it.
   * @returns The path of the file.
   */
  kubeconfig(token: string, port: number = this.#port): string {
    this.#names += 1;
    const file = this.#file(`kubeconfig-${this.#names}`);
    const cluster = {
      server: `https://127.0.0.1:${port}`,
      'certificate-authority': this.#file('certificates/apiserver.crt'),
    };
    writeFileSync(
      file,
      stringify({
        'current-context': 'node',
        contexts: [{ name: 'node', context: { cluster: 'cluster', user: 'broker' } }],
        clusters: [{ name: 'cluster', cluster }],
        users: [{ name: 'broker', user: { token } }],
      }),
    );
    return file;
  }

  /** The certificate that it has made for itself. */
  get ca(): string {
    const file = this.#file('certificates/apiserver.crt');
    return existsSync(file) ? readFileSync(file, 'utf8') : '';
  }

  async #ensureNamespace(name: string): Promise<void> {
    await this.#ensure('/api/v1/namespaces', { metadata: { name } });
  }

  async #ensure(path: string, body: object): Promise<void> {
    const answer = await this.request(path, { method: 'POST', body });
    if (answer.status !== 201 && answer.status !== 409) {
      throw new Error(`${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
    }
  }

  #file(name: string): string {
    return join(this.#folder, name);
  }

  #run(program: string, args: readonly string[]): ChildProcess {
    const start = this.#node?.exec.bind(this.#node) ?? spawn;
    const child = start(join(this.#assets, program), args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {},
    });
    child.stderr?.pipe(createWriteStream(this.#file(`${program}.log`), { flags: 'a' }));
    child.stdout?.resume();
    return child;
  }

  #logged(): string {
    return readFileSync(this.#file('kube-apiserver.log'), 'utf8').slice(-2_000);
  }

  async #close(): Promise<void> {
    await ended(this.#server);
    await ended(this.#etcd);
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

async function ended(child: ChildProcess | undefined): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}
