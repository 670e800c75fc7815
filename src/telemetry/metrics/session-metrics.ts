import type { Counter, Registry } from 'prom-client';
import type { DurationMs } from '../../clock.ts';
import { counter, readCounter, readGauge, readGauges, seconds } from './declare.ts';

/** Service accounts that are named at most, where they are named at all. */
const MAX_SERVICE_ACCOUNTS = 500;

/** Codes that have a series of their own whatever else is answered. */
const KNOWN_CODES: ReadonlySet<string> = new Set([
  // Errors of the service's model (API version 2023-11-26).
  ...['AccessDeniedException', 'ExpiredTokenException', 'InternalServerException'],
  ...['InvalidParameterException', 'InvalidRequestException', 'InvalidTokenException'],
  ...['ResourceNotFoundException', 'ServiceUnavailableException', 'ThrottlingException'],
  // No answer: Node.js and undici.
  ...['ECONNREFUSED', 'ECONNRESET', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOTFOUND'],
  ...['ETIMEDOUT', 'UND_ERR_CONNECT_TIMEOUT', 'UND_ERR_SOCKET', 'TimeoutError'],
]);
/**
 * How many others are told apart: their text is the service's, or that of whoever answers in its
 * place, and must not make series without end.
 */
const MAX_OTHER_CODES = 50;
const OTHER = 'Other';

/** Sessions of one scope that hold credentials. */
export interface ScopeFigures {
  readonly scope: string;
  readonly sessions: number;
  /** Pods that were handed the credentials that these sessions hold now. */
  readonly pods: number;
}

/** What the sessions of one service account have done so far. */
export interface ServiceAccountFigures {
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly sessions: number;
  readonly served: number;
}

/** What is read off the sessions. */
export interface SessionSources {
  readonly scopes: () => readonly ScopeFigures[];
  /** Until the first session that is asked for and can be renewed is served no more, in ms. */
  readonly soonestExpiry: () => DurationMs | undefined;
  /** EKS Auth denies every session. */
  readonly nodeDenied: () => boolean;
  /** Undefined: service accounts are not to be named. */
  readonly serviceAccounts: (() => readonly ServiceAccountFigures[]) | undefined;
}

/** A renewal that has ended. */
export interface Renewal {
  readonly ok: boolean;
  readonly failure?: { readonly kind: string; readonly code: string };
}

/** The metrics of role sessions. */
export class SessionMetrics {
  readonly #registry: Registry;
  readonly #cacheErrors: Counter<'type' | 'code'>;
  readonly #renewals: Counter<'result'>;
  readonly #otherCodes = new Set<string>();
  #callsSaved = 0;
  #evictions = 0;

  constructor(registry: Registry) {
    this.#registry = registry;
    this.#cacheErrors = counter(registry, {
      name: 'pod_identity_cache_errors',
      help: 'Renewals that failed: the session is kept (Recoverable) or ended (NonRecoverable)',
      labels: ['type', 'code'],
    });
    this.#renewals = counter(registry, {
      name: 'pod_identity_broker_renewals_total',
      help: 'Renewals of sessions by how they ended: ok, or the kind of failure',
      labels: ['result'],
    });
    readCounter(
      registry,
      {
        name: 'pod_identity_broker_eks_auth_calls_saved_total',
        help: 'Tokens that were given credentials that another token had fetched: each would have been a call in token scope',
      },
      () => [[{}, this.#callsSaved]],
    );
  }

  /** Sessions that made room for others so far. */
  get evictions(): number {
    return this.#evictions;
  }

  /** Counts a call that was not needed. */
  callSaved(): void {
    this.#callsSaved += 1;
  }

  /** Counts a session that made room for another. */
  evicted(): void {
    this.#evictions += 1;
  }

  /** Counts a renewal. */
  renewed({ failure }: Renewal): void {
    this.#renewals.inc({ result: failure?.kind ?? 'ok' });
    if (failure === undefined) return;
    const type = failure.kind === 'refused' ? 'NonRecoverable' : 'Recoverable';
    this.#cacheErrors.inc({ type, code: this.#codeLabel(failure.code) });
  }

  #codeLabel(code: string): string {
    if (KNOWN_CODES.has(code)) return code;
    if (this.#otherCodes.size < MAX_OTHER_CODES) this.#otherCodes.add(code);
    return this.#otherCodes.has(code) ? code : OTHER;
  }

  /** Adds what is read whenever the metrics are. */
  observe({ scopes, soonestExpiry, nodeDenied, serviceAccounts }: SessionSources): void {
    const registry = this.#registry;
    readGauges(
      registry,
      {
        name: 'pod_identity_broker_sessions',
        help: 'Role sessions that hold credentials, by scope',
        labels: ['scope'],
      },
      () => scopes().map(({ scope, sessions }) => [{ scope }, sessions]),
    );
    readGauges(
      registry,
      {
        name: 'pod_identity_broker_pods',
        help: 'Pods that were handed the credentials that sessions hold now, by scope of the session',
        labels: ['scope'],
      },
      () => scopes().map(({ scope, pods }) => [{ scope }, pods]),
    );
    readGauge(
      registry,
      {
        name: 'pod_identity_broker_soonest_expiry_seconds',
        help: 'Until the first session that pods still ask for can be served no more; absent where there is none',
      },
      () => seconds(soonestExpiry()),
    );
    readGauge(
      registry,
      {
        name: 'pod_identity_broker_node_denied',
        help: '1 while EKS Auth denies every renewal: the role of the node may not ask',
      },
      () => Number(nodeDenied()),
    );
    if (serviceAccounts !== undefined) this.#observeServiceAccounts(serviceAccounts);
  }

  #observeServiceAccounts(read: () => readonly ServiceAccountFigures[]): void {
    const registry = this.#registry;
    const most = () =>
      [...read()].sort((a, b) => b.served - a.served).slice(0, MAX_SERVICE_ACCOUNTS);
    const labels = ['namespace', 'service_account'] as const;
    const labelled = ({ namespace, serviceAccount }: ServiceAccountFigures) => ({
      namespace,
      service_account: serviceAccount,
    });
    readGauges(
      registry,
      {
        name: 'pod_identity_broker_service_account_sessions',
        help: 'Role sessions that hold credentials, by service account (with --metrics-service-accounts)',
        labels,
      },
      () => most().map((figures) => [labelled(figures), figures.sessions]),
    );
    readGauges(
      registry,
      {
        name: 'pod_identity_broker_service_account_served',
        help: 'Answers with credentials of the sessions held now, by service account (with --metrics-service-accounts)',
        labels,
      },
      () => most().map((figures) => [labelled(figures), figures.served]),
    );
  }
}
