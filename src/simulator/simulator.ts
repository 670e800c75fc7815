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

/**
 * Starts a local EKS on one HTTP port: token issuer, EKS API, EKS Auth, STS and a control API
 * under `/_simulator/`.
 *
 * @throws TypeError that names the option; or what `listen` failed with.
 */
export async function startSimulator(given: SimulatorOptions = {}): Promise<Simulator> {
  const options = resolveOptions(given);
  const { account, clock, clusterName, partition, region, settings } = options;
  const serviceNow = () => clock.now() + settings.clockOffset;
  const issuerPath = `/id/${randomBytes(16).toString('hex').toUpperCase()}`;
  const traces = options.traceFile === undefined ? undefined : new TraceReceiver(options.traceFile);
  const keys = new IssuerKeys(generateIssuerKey(options.keyAlgorithm));
  keys.adopt({ keys: options.issuerKeys });
  let router: ReturnType<typeof createRouter> | undefined;
  const listener = new Listener(options, (request, response) => router?.(request, response));
  await listener.open();
  const { url } = listener;
  const issuer = options.issuer ?? `${url}${issuerPath}`;
  const clusterArn = `arn:${partition}:eks:${region}:${account}:cluster/${clusterName}`;

  const random = createRandom(options.seed);
  const authority = new CredentialAuthority(account);
  const node = new NodeRole({
    authority,
    account,
    partition,
    serviceNow,
    credentials: options.nodeCredentials,
  });
  const roles = new Roles();
  const faults = new Faults(random);
  const audit = new AuditLog(options.auditCapacity);
  const counters = new Counters();
  const associations = new Associations({
    clusterName,
    account,
    region,
    partition,
    now: () => clock.now(),
    delay: () => settings.associationDelay,
    roles,
  });
  const kubelet = new Kubelet({
    clock,
    now: serviceNow,
    keys,
    issuer,
    region,
    tokenLifetime: options.tokenLifetime,
    tokenDirectory: options.tokenDirectory,
  });
  const door = { authority, region, serviceNow };

  const simulator: Simulator = {
    url,
    issuer,
    region,
    account,
    clusterName,
    clusterArn,
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
    close: async () => {
      kubelet.close();
      await listener.close();
      await traces?.close();
    },
  };
  router = createRouter({
    clock,
    serviceNow,
    issuerPath: new URL(issuer).pathname.replace(/\/$/, ''),
    issuer: new Issuer({ clock, issuer, keys, faults }),
    eksAuth: new EKSAuth({
      clock,
      door,
      clusterName,
      clusterArn,
      region,
      account,
      settings,
      random,
      faults,
      counters,
      tokens: new TokenVerifier(keys, issuer),
      associations,
      roles,
    }),
    eks: new EKS({
      door,
      clusterName,
      clusterArn,
      issuer,
      url,
      createdAt: clock.now(),
      associations,
    }),
    sts: new STS(door),
    control: new ControlAPI(simulator),
    audit,
    counters,
    traces,
  });
  return simulator;
}
