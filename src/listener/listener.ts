import type { Server } from 'node:http';
import { type AddressInfo, isIP } from 'node:net';
import type { Clock, DurationMs, Timer } from '../clock.ts';
import type { Config } from '../config/config.ts';
import { OwnAddresses } from '../network/own-addresses.ts';
import type { CredentialRequests } from '../sessions/credential-requests.ts';
import { BoundedLines } from '../telemetry/bounded-lines.ts';
import type { Log } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics/metrics.ts';
import { RepeatedFaults } from '../telemetry/repeated-faults.ts';
import type { Tracing } from '../telemetry/tracing.ts';
import { CredentialsEndpoint } from './credentials-endpoint.ts';
import { FirstRequests } from './first-requests.ts';
import { createHttpServer, stopListening } from './http-server.ts';
import { ListenError, type ListenOptions, listen } from './listening.ts';
import { MetricsPage } from './metrics-page.ts';
import { connectionsWithin, maxOpenFiles } from './open-files.ts';
import { createOperatorServer } from './operator-server.ts';
import { type ProbedAddress, Probes } from './probes.ts';
import { MAX_CONNECTIONS_IN_ALL, Sources } from './sources.ts';

/** How long connections that are idle stay open when the broker stops. */
const LINGER: DurationMs = 500;

/** Requests a second for the metrics page from one pod's address. */
const MAX_PAGES = 10;
/** Connections to the ports of probes and metrics: each lasts for one request. */
const OPERATOR_LIMITS = { connections: 16, connectionsInAll: 64 };

/** How often addresses are forgotten that nothing is held against. */
const SWEEP_INTERVAL: DurationMs = 10_000;

/** Hosts that no interface can lose. */
const EVERYWHERE: ReadonlySet<string> = new Set(['0.0.0.0', '::', 'localhost']);

/** What {@link Listener} is made from. */
export interface ListenerOptions {
  readonly clock: Clock;
  readonly config: Config;
  readonly log: Log;
  readonly metrics: Metrics;
  /** Answers whoever asks with a token. */
  readonly requests: CredentialRequests;
  /** Whether there is a thread to verify with; asked by the probes. */
  readonly workersReady: () => boolean;
  /** Makes spans, where traces are collected. */
  readonly tracing: Tracing | undefined;
  /** Ends the wait for a port that is taken. */
  readonly signal: AbortSignal;
}

/** An address that pods are answered on. */
export interface PortAddress {
  readonly host: string;
  readonly port: number;
}

/** A broker that has handed over, and lets go of what cannot be shared. */
export interface ReleasingBroker {
  /** Resolves with whether it has; `false`: it does not answer. */
  release(): Promise<boolean>;
}

/** All of the broker's sockets: credentials, probes, metrics. */
export class Listener {
  readonly #options: ListenerOptions;
  readonly #endpoint: CredentialsEndpoint;
  readonly #probes: Probes;
  readonly #bound: ProbedAddress[] = [];
  /** Addresses that are still to be bound, or done without. */
  #awaited: number;
  /** Default addresses that the node does not have. */
  #doneWithout = 0;
  readonly #own: OwnAddresses;
  readonly #sources: Sources;
  readonly #firstRequests: FirstRequests;
  readonly #scrapers: Sources;
  readonly #probers: Sources;
  readonly #page: MetricsPage;
  readonly #faults: RepeatedFaults;
  readonly #lines: BoundedLines | undefined;
  #sweep: Timer | undefined;
  readonly #credentialServers: Server[] = [];
  readonly #otherServers: Server[] = [];

  constructor(options: ListenerOptions) {
    this.#options = options;
    const { requests, metrics, log, config, clock } = options;
    this.#own = new OwnAddresses(clock);
    const refused = () => metrics.requests.connectionsRefused.inc();
    const maxFiles = maxOpenFiles();
    const connectionsInAll = Math.min(MAX_CONNECTIONS_IN_ALL, connectionsWithin(maxFiles));
    if (connectionsInAll < MAX_CONNECTIONS_IN_ALL) {
      log.warn(
        { maxFiles, connections: connectionsInAll },
        'few files may be open (RLIMIT_NOFILE): fewer connections of pods are',
      );
    }
    this.#sources = new Sources(clock, {
      rate: config.maxPodQps,
      connectionsInAll,
      onEviction: refused,
    });
    this.#firstRequests = new FirstRequests({
      sourceOf: (socket) => this.#sources.of(socket).name,
      isProbe: (socket) => this.#probes.isProbe(socket),
    });
    this.#scrapers = new Sources(clock, { ...OPERATOR_LIMITS, rate: MAX_PAGES });
    // The kubelet's address is that of all host-network pods: how often it asks is not bounded.
    this.#probers = new Sources(clock, { ...OPERATOR_LIMITS, rate: 0 });
    this.#page = new MetricsPage(clock, metrics.registry, log);
    this.#faults = new RepeatedFaults(clock, log);
    this.#lines = BoundedLines.of(clock, log);
    this.#awaited = config.bindHosts.length;
    this.#endpoint = new CredentialsEndpoint({
      requests,
      metrics,
      log,
      faults: this.#faults,
      lines: this.#lines,
      bindHosts: config.bindHosts,
      probeSecret: () => this.#probes.secret,
      clock,
      sources: this.#sources,
      tracing: options.tracing,
    });
    this.#probes = new Probes({
      clock,
      addresses: () => this.#bound,
      incomplete: () => this.#awaited > 0,
      readyId: config.readyId,
      workersReady: options.workersReady,
    });
  }

  /** Addresses that pods are to be answered on. */
  get addressesExpected(): number {
    return this.#options.config.bindHosts.length - this.#doneWithout;
  }

  /** Addresses that pods are answered on: an address can be taken from the node at any time. */
  get addressesBound(): number {
    return this.#bound.filter(({ host }) => this.#onThisNode(host)).length;
  }

  /** Connections of pods that are open. */
  get connections(): number {
    return this.#sources.connections;
  }

  /**
   * Listens on every address. An address that the node does not have is an error when the
   * user named it, or when it is the only one; a default IPv6 address is done without.
   *
   * @param predecessor - Who answers pods here so far, and goes on until it is stopped.
   * @param onTaken - Called whenever a port for pods is held by somebody else; the result is the
   *   broker that has it, if that hands over.
   * @throws ListenError naming the address.
   */
  async start(
    predecessor?: ReleasingBroker,
    onTaken?: (address: PortAddress) => Promise<ReleasingBroker | undefined>,
  ): Promise<void> {
    const { config, log } = this.#options;
    const shared = predecessor === undefined ? 'with-successor' : 'with-predecessor';
    let before = predecessor;
    const hasHandedOver = async (address: PortAddress) => {
      const found = await onTaken?.(address);
      before ??= found;
      return before !== undefined;
    };
    const listenForAll = async () => {
      await Promise.all(
        config.bindHosts.map((host) => this.#listenForPods(host, shared, hasHandedOver)),
      );
      if ((await before?.release()) === false) {
        log.warn('the broker before this one does not let go of the ports of probes and metrics');
      }
    };
    this.#sweepLater();
    const forPods = listenForAll();
    if (predecessor !== undefined) await forPods;
    await Promise.all([forPods, this.startProbes()]);
  }

  /** A successor is there, or is gone: readiness under this process's own id ends, or is back. */
  set succeeded(succeeded: boolean) {
    this.#probes.succeeded = succeeded;
  }

  /** Answers probes, and whoever reads the metrics. */
  async startProbes(): Promise<void> {
    await Promise.all([this.#listenForProbes(), this.#listenForMetrics()]);
  }

  /** Lets go of the ports of probes and metrics. */
  async stopProbes(): Promise<void> {
    await Promise.all(
      this.#otherServers.splice(0).map((server) => {
        const closed = new Promise((resolve) => server.close(resolve));
        server.closeAllConnections();
        return closed;
      }),
    );
  }

  /**
   * Accepts nothing new, and answers what was accepted.
   *
   * @param bound - The longest that this may take; connections still open then are cut.
   */
  async stop(bound: DurationMs): Promise<void> {
    const { clock } = this.#options;
    this.#endpoint.closing = true;
    clock.clearTimeout(this.#sweep);
    const closed = Promise.all(
      this.#credentialServers.map(
        (server) =>
          new Promise<void>((resolve) => {
            if (server.listening) stopListening(server, resolve);
            else resolve();
          }),
      ),
    );
    const lingers = [
      // Whoever keeps a connection alive has had time to use it once more by then.
      clock.setTimeout(
        () => {
          // To Node.js, one that was not read yet is idle.
          this.#firstRequests.onceAllAreRead(() => {
            for (const server of this.#credentialServers) server.closeIdleConnections();
          });
        },
        Math.min(LINGER, bound),
      ),
      clock.setTimeout(() => {
        for (const server of this.#credentialServers) server.closeAllConnections();
      }, bound),
    ];
    await closed;
    for (const timer of lingers) clock.clearTimeout(timer);
    this.#faults.stop();
    await this.stopProbes();
  }

  #sweepLater(): void {
    this.#sweep = this.#options.clock.setTimeout(() => {
      for (const sources of [this.#sources, this.#scrapers, this.#probers]) sources.sweep();
      this.#sweepLater();
    }, SWEEP_INTERVAL);
    this.#sweep.unref();
  }

  async #listenForPods(
    host: string,
    shared: ListenOptions['shared'],
    onTaken: (address: PortAddress) => Promise<boolean>,
  ): Promise<void> {
    const { config, metrics, clock, log } = this.#options;
    const server = createHttpServer({
      handler: this.#endpoint.handle,
      // Of their own: floods of either kind must not hide the other.
      lines: BoundedLines.of(clock, log),
      sources: this.#sources,
      firstRequests: this.#firstRequests,
      onParseError: (status) => metrics.requests.answered(status, 'invalid', 0),
      isProbe: (socket) => this.#probes.isProbe(socket),
      onTooMany: () => metrics.requests.connectionsRefused.inc(),
    });
    const { port } = config;
    const optional = host.includes(':') && !config.bindHostsNamed;
    // `::` is for IPv4 as well, as it is to the existing agent, unless IPv4 has a socket of its own.
    const ipv6Only = host === '::' && config.bindHosts.some((other) => isIP(other) === 4);
    const listens = await this.#listen(server, host, port, {
      optional,
      shared,
      ipv6Only,
      onTaken: () => onTaken({ host, port }),
    });
    this.#awaited -= 1;
    if (listens) {
      this.#credentialServers.push(server);
      this.#bound.push({ host, port, ip: (server.address() as AddressInfo).address });
    } else {
      this.#doneWithout += 1;
    }
  }

  async #listenForProbes(): Promise<void> {
    const { probePort } = this.#options.config;
    await Promise.all(
      [
        { host: '127.0.0.1', optional: false },
        { host: '::1', optional: true },
      ].map(async ({ host, optional }) => {
        const server = createOperatorServer({
          sources: this.#probers,
          handler: (request, response) => {
            if (!this.#probes.handle(request, response)) response.writeHead(404).end();
          },
        });
        if (await this.#listen(server, host, probePort, { optional })) {
          this.#otherServers.push(server);
        }
      }),
    );
  }

  async #listenForMetrics(): Promise<void> {
    const { config } = this.#options;
    const server = createOperatorServer({
      sources: this.#scrapers,
      handler: (request, response) => {
        if (this.#probes.handle(request, response)) return;
        if (request.url?.split('?', 1)[0] === '/metrics') this.#page.answer(response);
        else response.writeHead(404).end();
      },
    });
    await this.#listen(server, config.metricsAddress, config.metricsPort);
    this.#otherServers.push(server);
  }

  async #listen(
    server: Server,
    host: string,
    port: number,
    { optional = false, ...how }: HowToListen = {},
  ): Promise<boolean> {
    const { clock, log, signal } = this.#options;
    try {
      return await listen(server, { host, port, clock, log, signal, ...how });
    } catch (error) {
      if (!(error instanceof ListenError && error.absent && optional)) throw error;
      log.warn({ address: host, port }, `${error.message}; going on without it`);
      return false;
    }
  }

  /** Whether the node has the address; it always has wildcards. */
  #onThisNode(host: string): boolean {
    return EVERYWHERE.has(host) || this.#own.hasNow(host);
  }
}

interface HowToListen extends Pick<ListenOptions, 'shared' | 'ipv6Only' | 'onTaken'> {
  /** It is done without an address that the node does not have. Default is false. */
  readonly optional?: boolean;
}
