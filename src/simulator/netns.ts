import { type ChildProcess, type SpawnOptions, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { fileURLToPath } from 'node:url';
import { findIp, ip, ipPath } from '../network/ip-command.ts';

// A node and its pods as network namespaces of Linux:
//
//   node   pod-id-link0   169.254.170.23/32, fd00:ec2::23/128, as `initialize` makes it
//          pods           a bridge, the pods' way out: 10.244.0.1/16, fd00:244::1/64
//   pod    eth0           10.244.x.y/16, fd00:244::z/64; the default route is the bridge
//
// What a pod sends to 169.254.170.23 arrives at the node under the pod's own address, as on
// EKS. Nothing of it is visible in the machine's own namespace but the names.

/** `pib-<pid of the process that made it>-<random>`, pods with a number behind that. */
const NAME = /^pib-(\d+)-/;

/** A network namespace that programs can be run in. */
export interface Namespace {
  readonly name: string;
  /** Starts a program inside; otherwise as `child_process.spawn`. */
  exec(command: string, args: readonly string[], options?: SpawnOptions): ChildProcess;
}

/** A pod: a namespace that reaches the node, and through it nothing else. */
export interface PodNamespace extends Namespace {
  readonly address4: string;
  readonly address6: string;
}

/** A node with the two link-local addresses that EKS tells pods to ask. */
export interface NodeNamespace extends Namespace {
  /** The node's address as its pods reach it. */
  readonly address4: string;
  readonly address6: string;
  createPod(): Promise<PodNamespace>;
  /**
   * Makes a port of the node reachable from outside.
   *
   * @param address - The node's own that the port belongs to; default its loopback.
   * @returns The port of this process's own loopback that leads there.
   */
  forward(port: number, address?: string): Promise<number>;
  /** Kills what still runs inside, and takes node and pods away. */
  close(): Promise<void>;
}

/** Why this process cannot make network namespaces; undefined where it can. */
export function namespacesProblem(): string | undefined {
  if (process.platform !== 'linux') return 'network namespaces need Linux';
  if (process.getuid?.() !== 0) return 'network namespaces need root';
  if (findIp() === undefined) return 'network namespaces need the command ip (package iproute2)';
  const name = newName();
  const made = spawnSync(findIp() as string, ['netns', 'add', name], { encoding: 'utf8' });
  removeNamespace(name);
  return made.status === 0 ? undefined : `no network namespace can be made: ${made.stderr.trim()}`;
}

/**
 * Makes a node. Namespaces that earlier processes left behind when they were killed are taken
 * away first.
 *
 * @param options.ipv6 - `false`: with IPv6 disabled, as some nodes have it. Default true.
 * @throws Error with what `ip` complained of.
 */
export async function createNode(
  options: { readonly ipv6?: boolean } = {},
): Promise<NodeNamespace> {
  removeStale();
  const node = new SimulatedNode(newName(), options.ipv6 ?? true);
  try {
    await node.open();
  } catch (error) {
    await node.close();
    throw error;
  }
  return node;
}

/** A namespace, and what was started in it. */
class OneNamespace implements Namespace {
  readonly name: string;
  readonly #running = new Set<ChildProcess>();

  constructor(name: string) {
    this.name = name;
  }

  exec(command: string, args: readonly string[], options: SpawnOptions = {}): ChildProcess {
    const inside = ['netns', 'exec', this.name, command, ...args];
    const child = spawn(ipPath(), inside, options);
    this.#running.add(child);
    child.once('exit', () => this.#running.delete(child));
    return child;
  }

  /** Kills what runs, and takes the namespace away. */
  async remove(): Promise<void> {
    const ended = [...this.#running].map(
      (child) =>
        new Promise<void>((resolve) => {
          child.once('exit', () => resolve());
          child.kill('SIGKILL');
        }),
    );
    removeNamespace(this.name);
    await Promise.all(ended);
  }
}

class SimulatedPod extends OneNamespace implements PodNamespace {
  readonly address4: string;
  readonly address6: string;

  constructor(name: string, address4: string, address6: string) {
    super(name);
    this.address4 = address4;
    this.address6 = address6;
  }
}

class SimulatedNode extends OneNamespace implements NodeNamespace {
  readonly address4 = '10.244.0.1';
  readonly address6 = 'fd00:244::1';
  readonly #ipv6: boolean;
  readonly #pods: SimulatedPod[] = [];
  readonly #forwards = new Set<Server>();
  #forwarder: ChildProcess | undefined;

  constructor(name: string, ipv6: boolean) {
    super(name);
    this.#ipv6 = ipv6;
  }

  async open(): Promise<void> {
    process.once('exit', this.#removeNow);
    await ip(['netns', 'add', this.name]);
    if (!this.#ipv6) await this.#disableIpv6();
    // A bridge without members, since not every kernel has the driver `dummy`.
    await this.#configure(this.name, [
      'link set lo up',
      'link add pod-id-link0 type bridge',
      'addr add 169.254.170.23/32 dev pod-id-link0',
      '6 addr add fd00:ec2::23/128 dev pod-id-link0 nodad',
      'link set pod-id-link0 up',
      // A bridge without an address of its own takes that of a member, and changes it.
      'link add pods address 02:00:00:00:00:01 type bridge forward_delay 0 mcast_snooping 0',
      `addr add ${this.address4}/16 dev pods`,
      `6 addr add ${this.address6}/64 dev pods nodad`,
      'link set pods up',
    ]);
  }

  async createPod(): Promise<PodNamespace> {
    const number = this.#pods.length + 1;
    const host = number + 1;
    const pod = new SimulatedPod(
      `${this.name}-${number}`,
      `10.244.${host >> 8}.${host & 255}`,
      `fd00:244::${host.toString(16)}`,
    );
    this.#pods.push(pod);
    await ip(['netns', 'add', pod.name]);
    await this.#configure(this.name, [
      `link add pod${number} type veth peer name eth0 netns ${pod.name}`,
      `link set pod${number} master pods up`,
    ]);
    await this.#configure(pod.name, [
      'link set lo up',
      `addr add ${pod.address4}/16 dev eth0`,
      `6 addr add ${pod.address6}/64 dev eth0 nodad`,
      'link set eth0 up',
      `route add default via ${this.address4}`,
      `6 route add default via ${this.address6}`,
    ]);
    return pod;
  }

  async forward(port: number, address = '127.0.0.1'): Promise<number> {
    this.#forwarder ??= this.#startForwarder();
    const forwarder = this.#forwarder;
    const server = createServer({ pauseOnConnect: true }, (accepted) => {
      accepted.on('error', () => accepted.destroy());
      if (forwarder.connected) forwarder.send({ port, address }, accepted);
      else accepted.destroy();
    });
    this.#forwards.add(server);
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(0, '127.0.0.1', resolve);
    });
    return (server.address() as AddressInfo).port;
  }

  async close(): Promise<void> {
    process.off('exit', this.#removeNow);
    for (const server of this.#forwards) server.close();
    if (this.#forwarder?.connected) this.#forwarder.disconnect();
    for (const pod of this.#pods) await pod.remove();
    await this.remove();
  }

  /** For a process that ends without having closed its node. */
  readonly #removeNow = (): void => {
    for (const { name } of [...this.#pods, this]) removeNamespace(name);
  };

  #startForwarder(): ChildProcess {
    const file = `netns-forward${import.meta.url.endsWith('.ts') ? '.ts' : '.js'}`;
    return this.exec(process.execPath, [fileURLToPath(new URL(file, import.meta.url))], {
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
  }

  /** Runs commands of `ip` in a namespace; those that begin with 6 where there is IPv6. */
  async #configure(namespace: string, commands: readonly string[]): Promise<void> {
    const wanted = commands
      .filter((command) => this.#ipv6 || !command.startsWith('6 '))
      .map((command) => command.replace(/^6 /, ''));
    await ip(['-netns', namespace, '-batch', '-'], wanted.join('\n'));
  }

  async #disableIpv6(): Promise<void> {
    const set = 'echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6';
    await ip(['netns', 'exec', this.name, '/bin/sh', '-c', set]);
  }
}

function newName(): string {
  return `pib-${process.pid}-${randomBytes(3).toString('hex')}`;
}

/** Takes away what processes that are no more have left. */
function removeStale(): void {
  const { stdout = '' } = spawnSync(ipPath(), ['netns', 'list'], { encoding: 'utf8' });
  for (const line of stdout.split('\n')) {
    const [name = ''] = line.split(' ');
    const pid = NAME.exec(name)?.[1];
    if (pid !== undefined && !isAlive(Number(pid))) removeNamespace(name);
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}

/** Kills what runs in a namespace and deletes it; nothing, where there is none. */
function removeNamespace(name: string): void {
  const { stdout } = spawnSync(ipPath(), ['netns', 'pids', name], { encoding: 'utf8' });
  for (const pid of stdout.split('\n').filter((line) => line !== '')) {
    try {
      process.kill(Number(pid), 'SIGKILL');
    } catch {
      // It ended by itself.
    }
  }
  spawnSync(ipPath(), ['netns', 'delete', name]);
}
