import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { freePort } from '../free-port.ts';
import { createNode, type NodeNamespace } from '../netns.ts';

/** Starts a program somewhere. */
export type Exec = (
  command: string,
  args: readonly string[],
  options: SpawnOptions,
) => ChildProcess;

/** Where a pod runs. */
export interface PodPlace {
  readonly exec: Exec;
  /** What comes in front of a command that is to run there. */
  readonly prefix: string;
  /** Where the pod is told to get its credentials. */
  readonly credentialsUri: string;
}

/** A node to run the demo on: its addresses, and places for its pods. */
export interface Stage {
  /** Starts a program on the node. */
  readonly exec: Exec;
  /** What comes in front of a command that is to run on the node. */
  readonly prefix: string;
  readonly simulator: { readonly host: string; readonly port: number };
  /** Endpoint of the simulator as pods reach it. */
  readonly simulatorUrl: string;
  /** Flags of the broker that say where it listens. */
  readonly brokerFlags: readonly string[];
  /** Where the broker answers pods, for people. */
  readonly brokerAddresses: string;
  readonly probePort: number;
  readonly metricsPort: number;
  /** The URL at which this process reaches a port of the node's loopback. */
  reach(port: number): Promise<string>;
  createPod(): Promise<PodPlace>;
  close(): Promise<void>;
}

/** This machine's loopback and free ports of it: needs no rights. */
export async function loopbackStage(): Promise<Stage> {
  const ports = new Set<number>();
  while (ports.size < 4) ports.add(await freePort());
  const [simulatorPort = 0, port = 0, probePort = 0, metricsPort = 0] = ports;
  const exec: Exec = (command, args, options) => spawn(command, args, options);
  const credentialsUri = `http://127.0.0.1:${port}/v1/credentials`;
  return {
    exec,
    prefix: '',
    simulator: { host: '127.0.0.1', port: simulatorPort },
    simulatorUrl: `http://127.0.0.1:${simulatorPort}`,
    brokerFlags: [
      '--bind-hosts=127.0.0.1',
      `--port=${port}`,
      `--probe-port=${probePort}`,
      '--metrics-address=127.0.0.1',
      `--metrics-port=${metricsPort}`,
    ],
    brokerAddresses: `127.0.0.1:${port}`,
    probePort,
    metricsPort,
    reach: async (wanted) => `http://127.0.0.1:${wanted}`,
    createPod: async () => ({ exec, prefix: '', credentialsUri }),
    close: async () => undefined,
  };
}

/**
 * Network namespaces: the broker on the addresses and ports that it has on EKS, each pod with
 * an address of its own. Pods are told the IPv4 and the IPv6 address in turns.
 */
export async function namespaceStage(): Promise<Stage> {
  const node = await createNode();
  const simulator = { host: '0.0.0.0', port: 8090 };
  const uris = ['http://169.254.170.23/v1/credentials', 'http://[fd00:ec2::23]/v1/credentials'];
  let pods = 0;
  return {
    exec: (command, args, options) => node.exec(command, args, options),
    prefix: prefixOf(node),
    simulator,
    simulatorUrl: `http://${node.address4}:${simulator.port}`,
    brokerFlags: [],
    brokerAddresses: '169.254.170.23:80 and [fd00:ec2::23]:80',
    probePort: 2703,
    metricsPort: 2705,
    reach: forwarded(node),
    async createPod() {
      const credentialsUri = uris[pods % uris.length] as string;
      pods += 1;
      const pod = await node.createPod();
      return {
        exec: (command, args, options) => pod.exec(command, args, options),
        prefix: prefixOf(pod),
        credentialsUri,
      };
    },
    close: () => node.close(),
  };
}

function prefixOf({ name }: { readonly name: string }): string {
  return `ip netns exec ${name} `;
}

function forwarded(node: NodeNamespace): Stage['reach'] {
  const urls = new Map<number, Promise<string>>();
  return (port) => {
    const known = urls.get(port);
    if (known !== undefined) return known;
    const made = node.forward(port).then((outside) => `http://127.0.0.1:${outside}`);
    urls.set(port, made);
    return made;
  };
}
