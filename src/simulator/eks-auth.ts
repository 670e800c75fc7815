import { randomUUID } from 'node:crypto';
import type { Clock, EpochMs } from '../clock.ts';
import type { Association, Associations } from './associations.ts';
import { AWSServiceError, modelled } from './aws-error.ts';
import { answerBroken, pause } from './broken-answer.ts';
import type { Counters } from './counters.ts';
import type { Credentials, Principal } from './credential-authority.ts';
import { faultyError, faultyResponse } from './eks-auth-faults.ts';
import type { Exchange } from './exchange.ts';
import type { ActiveFault, Faults } from './faults.ts';
import { answerError, authenticate, type FrontDoor } from './front-door.ts';
import type { Random } from './random.ts';
import { parseRoleArn, type Roles } from './roles.ts';
import { isRecord, POD_IDENTITY_AUDIENCE } from './service-account-token.ts';
import { type Settings, sampleLatency } from './settings.ts';
import { Throttle } from './throttle.ts';
import { claimedIdentity, type TokenIdentity, type TokenVerifier } from './token-verifier.ts';

/** `AssumeRoleForPodIdentityResponse` as JSON. */
export interface AssumeRoleResponse {
  subject: { namespace: string; serviceAccount: string };
  audience: string;
  podIdentityAssociation: { associationArn: string; associationId: string };
  assumedRoleUser: { arn: string; assumeRoleId: string };
  credentials: {
    accessKeyId: string;
    secretAccessKey: string;
    sessionToken: string;
    /** Seconds since the epoch. */
    expiration: number;
  };
}

/** What EKS Auth works with. */
export interface EKSAuthOptions {
  clock: Clock;
  door: FrontDoor;
  clusterName: string;
  clusterArn: string;
  region: string;
  account: string;
  settings: Settings;
  random: Random;
  faults: Faults;
  counters: Counters;
  tokens: TokenVerifier;
  associations: Associations;
  roles: Roles;
}

const CLUSTER_NAME = /^[0-9A-Za-z][A-Za-z0-9\-_]{0,99}$/;

/** The `AssumeRoleForPodIdentity` operation of EKS Auth (API version 2023-11-26). */
export class EKSAuth {
  readonly #options: EKSAuthOptions;
  readonly #throttle = new Throttle();

  constructor(options: EKSAuthOptions) {
    this.#options = options;
  }

  /** Serves `POST /clusters/{clusterName}/assume-role-for-pod-identity`. */
  async serve(exchange: Exchange, clusterName: string): Promise<void> {
    const { clock, counters, door, faults, random, settings } = this.#options;
    const token = readToken(exchange.body);
    const claimed = claimedIdentity(token);
    Object.assign(exchange.audit, claimed, { clusterName });
    const call = counters.begin({
      ...claimed,
      token: typeof token === 'string' ? token : undefined,
    });
    exchange.onSettled(() => call.end());
    try {
      const caller = authenticate(exchange, 'eks-auth', door);
      const fault = faults.meet('eks-auth', claimed);
      if (fault !== undefined) exchange.audit.fault = fault.kind;
      if (fault?.kind === 'reset' || fault?.kind === 'black-hole') {
        call.lost();
        answerBroken(exchange, fault, '');
        return;
      }
      const throttled =
        fault === undefined && !this.#throttle.admits(settings.quota, clock.elapsed());
      if (throttled || fault?.kind === 'throttle') {
        throw modelled('ThrottlingException', 'Rate exceeded');
      }
      const outcome = this.#outcome(clusterName, token, caller, fault);
      const extra = fault?.kind === 'slow' ? (fault.delay ?? 1_000) : 0;
      await pause(exchange, clock, sampleLatency(settings.latency, random) + extra);
      if (outcome instanceof AWSServiceError) answerError(exchange, outcome);
      else answer(exchange, outcome, fault, door.serviceNow());
    } catch (error) {
      answerError(exchange, error);
    }
  }

  /** What the service makes of the call, before it takes its time to say so. */
  #outcome(clusterName: string, token: unknown, caller: Principal, fault: ActiveFault | undefined) {
    try {
      const error = fault && faultyError(fault, caller, this.#options);
      if (error !== undefined) throw error;
      return this.#assume(clusterName, token, caller);
    } catch (error) {
      if (error instanceof AWSServiceError) return error;
      throw error;
    }
  }

  #assume(clusterName: string, token: unknown, caller: Principal): Issued {
    const { associations, door, roles, settings, tokens } = this.#options;
    if (!CLUSTER_NAME.test(clusterName)) {
      throw modelled('InvalidParameterException', 'clusterName is not valid.');
    }
    if (caller.kind !== 'node') throw faultyError({ kind: 'access-denied' }, caller, this.#options);
    if (clusterName !== this.#options.clusterName) {
      throw modelled('ResourceNotFoundException', `No cluster found for name: ${clusterName}.`);
    }
    const identity = tokens.verify(token, door.serviceNow());
    const { namespace, serviceAccount } = identity;
    const association = associations.visible(namespace, serviceAccount);
    if (association === undefined) {
      throw modelled(
        'ResourceNotFoundException',
        `No association found for service account ${namespace}/${serviceAccount}.`,
      );
    }
    const tags = association.disableSessionTags ? {} : this.#sessionTags(identity);
    this.#checkTrust(association, tags);
    const role = roles.get(association.targetRoleArn ?? association.roleArn);
    const sessionName = roleSessionName(clusterName, identity.pod);
    const arn = `arn:${parseRoleArn(role.roleArn)?.partition}:sts::${role.account}:assumed-role/${role.roleName}/${sessionName}`;
    const userId = `${role.roleId}:${sessionName}`;
    const lifetime =
      association.targetRoleArn === undefined
        ? settings.sessionLifetime
        : Math.min(settings.sessionLifetime, settings.chainedSessionLifetime);
    const expiresAt = Math.floor((door.serviceNow() + lifetime) / 1_000) * 1_000;
    const grant = { arn, userId, account: role.account, expiresAt, tags };
    return { identity, association, arn, userId, sessionName, tags, ...this.#issue(grant) };
  }

  #issue(grant: Parameters<FrontDoor['authority']['issue']>[0]) {
    return { credentials: this.#options.door.authority.issue(grant) };
  }

  /** The six tags that EKS adds to a role session. */
  #sessionTags({ namespace, serviceAccount, pod, podUid }: TokenIdentity) {
    return {
      'eks-cluster-arn': this.#options.clusterArn,
      'eks-cluster-name': this.#options.clusterName,
      'kubernetes-namespace': namespace,
      'kubernetes-service-account': serviceAccount,
      'kubernetes-pod-name': pod,
      'kubernetes-pod-uid': podUid,
    };
  }

  #checkTrust(association: Association, tags: Record<string, string>): void {
    const { account, clusterArn, roles } = this.#options;
    const { roleArn, targetRoleArn, externalId = '' } = association;
    const context: Record<string, string> = {
      'aws:SourceAccount': account,
      'aws:SourceArn': clusterArn,
    };
    for (const [tag, value] of Object.entries(tags)) context[`aws:RequestTag/${tag}`] = value;
    const trusted =
      roles.trustsPodIdentity(roleArn, context, !association.disableSessionTags) &&
      (targetRoleArn === undefined ||
        roles.trustsRole(targetRoleArn, roleArn, { ...context, 'sts:ExternalId': externalId }));
    if (!trusted) {
      // The service's own words, as users report them.
      throw modelled(
        'AccessDeniedException',
        'Unauthorized Exception! EKS does not have permissions to assume the associated role.',
      );
    }
  }
}

/** A role session that was issued. */
export interface Issued {
  identity: TokenIdentity;
  association: Association;
  arn: string;
  userId: string;
  sessionName: string;
  tags: Record<string, string>;
  credentials: Required<Credentials> & { sessionToken: string };
}

function answer(
  exchange: Exchange,
  issued: Issued,
  fault: ActiveFault | undefined,
  serviceNow: EpochMs,
): void {
  const good = response(issued);
  const sent = fault === undefined ? good : faultyResponse(good, fault, serviceNow);
  Object.assign(exchange.audit, {
    associationId: issued.association.associationId,
    assumedRoleArn: issued.arn,
    sessionName: issued.sessionName,
    issuedAccessKeyId: issued.credentials.accessKeyId,
    expiration: issued.credentials.expiration,
    sessionTags: issued.tags,
  });
  if (fault === undefined || !answerBroken(exchange, fault, JSON.stringify(sent))) {
    exchange.json(200, sent);
  }
}

function response({ identity, association, arn, userId, credentials }: Issued): AssumeRoleResponse {
  const { accessKeyId, secretAccessKey, sessionToken, expiration } = credentials;
  return {
    subject: { namespace: identity.namespace, serviceAccount: identity.serviceAccount },
    audience: POD_IDENTITY_AUDIENCE,
    podIdentityAssociation: {
      associationArn: association.associationArn,
      associationId: association.associationId,
    },
    assumedRoleUser: { arn, assumeRoleId: userId },
    credentials: {
      sessionToken,
      secretAccessKey,
      accessKeyId,
      expiration: (expiration as EpochMs) / 1_000,
    },
  };
}

/** `eks-<cluster>-<pod>-<uuid>`; real ones cut both names to ten characters, for STS allows 64. */
function roleSessionName(clusterName: string, pod: string): string {
  return `eks-${clusterName.slice(0, 10)}-${pod.slice(0, 10)}-${randomUUID()}`;
}

function readToken(body: Buffer): unknown {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'));
    return isRecord(value) ? value.token : undefined;
  } catch {
    return undefined;
  }
}
