import { randomBytes } from 'node:crypto';
import { Associations } from './associations.ts';
import { AuditLog } from './audit.ts';
import { ControlAPI } from './control-api.ts';
import { Counters } from './counters.ts';
import { CredentialAuthority } from './credential-authority.ts';
import { EKS } from './eks.ts';
import { EKSAuth } from './eks-auth.ts';
import { Faults } from './faults.ts';
import { Issuer } from './issuer.ts';
import { generateIssuerKey, IssuerKeys } from './issuer-keys.ts';
import { Kubelet } from './kubelet.ts';
import { Listener } from './listener.ts';
import { NodeRole } from './node-role.ts';
import { resolveOptions, type SimulatorOptions } from './options.ts';
import { createRandom } from './random.ts';
import { Roles } from './roles.ts';
import { createRouter } from './router.ts';
import type { Simulator } from './running-simulator.ts';
import { settingsChange } from './settings.ts';
import { STS } from './sts.ts';
import { TokenVerifier } from './token-verifier.ts';
import { TraceReceiver } from './traces/trace-receiver.ts';

export type { SimulatorOptions } from './options.ts';
export type { Simulator } from './running-simulator.ts';

/** The cluster that is simulated. */
interface Cluster {
  readonly clusterName: string;
  readonly clusterArn: string;
  readonly region: string;
  readonly account: string;
  readonly url: string;
  /** The `iss` of its tokens. */
  readonly issuer: string;
}

type Options = ReturnType<typeof resolveOptions>;

/**
 * Starts a local EKS on one HTTP port: token issuer, EKS API, EKS Auth, STS and a control API
 * under `/_simulator/`.
 *
 * @throws TypeError that names the option; or what `listen` failed with.
 */
export async function startSimulator(given: SimulatorOptions = {}): Promise<Simulator> {
  const options = resolveOptions(given);
  const traces = options.traceFile === undefined ? undefined : new TraceReceiver(options.traceFile);
  const keys = new IssuerKeys(generateIssuerKey(options.keyAlgorithm));
  keys.adopt({ keys: options.issuerKeys });
  let router: ReturnType<typeof createRouter> | undefined;
  const listener = new Listener(options, (request, response) => router?.(request, response));
  await listener.open();
  // The issuer is named after the port, which is not known before.
  const cluster = clusterOf(options, listener.url);
  const state = createState(options, cluster, keys);
  const simulator = facade(options, cluster, state, listener, async () => {
    state.kubelet.close();
    await listener.close();
    await traces?.close();
  });
  router = createRouter({
    ...services(options, cluster, state),
    control: new ControlAPI(simulator),
    traces,
  });
  return simulator;
}

function clusterOf(
  { account, clusterName, partition, region, issuer }: Options,
  url: string,
): Cluster {
  return {
    clusterName,
    clusterArn: `arn:${partition}:eks:${region}:${account}:cluster/${clusterName}`,
    region,
    account,
    url,
    issuer: issuer ?? `${url}/id/${randomBytes(16).toString('hex').toUpperCase()}`,
  };
}

/** All that the services know and remember; they have nothing but this in common. */
function createState(options: Options, { issuer }: Cluster, keys: IssuerKeys) {
  const { account, clock, clusterName, partition, region, settings } = options;
  const serviceNow = () => clock.now() + settings.clockOffset;
  const random = createRandom(options.seed);
  const authority = new CredentialAuthority(account);
  const roles = new Roles();
  return {
    serviceNow,
    random,
    keys,
    roles,
    door: { authority, region, serviceNow },
    node: new NodeRole({
      authority,
      account,
      partition,
      serviceNow,
      credentials: options.nodeCredentials,
    }),
    faults: new Faults(random),
    audit: new AuditLog(options.auditCapacity),
    counters: new Counters(),
    associations: new Associations({
      clusterName,
      account,
      region,
      partition,
      now: () => clock.now(),
      delay: () => settings.associationDelay,
      roles,
    }),
    kubelet: new Kubelet({
      clock,
      now: serviceNow,
      keys,
      issuer,
      region,
      tokenLifetime: options.tokenLifetime,
      tokenDirectory: options.tokenDirectory,
    }),
  };
}

type State = ReturnType<typeof createState>;

/** What whoever has started the simulator holds in hand. */
function facade(
  { settings }: Options,
  cluster: Cluster,
  { node, kubelet, keys, roles, associations, faults, audit, counters }: State,
  listener: Listener,
  close: () => Promise<void>,
): Simulator {
  return {
    ...cluster,
    get nodeCredentials() {
      return node.credentials;
    },
    node,
    kubelet,
    issuerKeys: keys,
    roles,
    associations,
    eksAuth: {
      settings,
      set: (change) => void Object.assign(settings, settingsChange(change, '')),
    },
    faults,
    audit,
    counts: () => counters.read(),
    resetCounts: () => counters.reset(),
    outage: (duration) => listener.outage(duration),
    recovered: () => listener.recovered(),
    close,
  };
}

/** The services, each over what it has to know. */
function services({ clock, settings }: Options, cluster: Cluster, state: State) {
  const { issuer } = cluster;
  const { serviceNow, audit, counters, keys, faults, door } = state;
  return {
    clock,
    serviceNow,
    audit,
    counters,
    issuerPath: new URL(issuer).pathname.replace(/\/$/, ''),
    issuer: new Issuer({ clock, issuer, keys, faults }),
    eksAuth: new EKSAuth({
      ...cluster,
      ...state,
      clock,
      settings,
      tokens: new TokenVerifier(keys, issuer),
    }),
    eks: new EKS({ ...cluster, ...state, createdAt: clock.now() }),
    sts: new STS(door),
  };
}
