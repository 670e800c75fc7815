import type { IncomingMessage } from 'node:http';
import {
  type Attributes,
  type Context,
  propagation,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  type Tracer,
  trace,
} from '@opentelemetry/api';
import type { DurationMs, EpochMs } from '../clock.ts';

// Every span, event and attribute of the broker is named in this file. Names without the
// prefix are OpenTelemetry's own, from its semantic conventions for HTTP and RPC. None of
// them ever holds a token, a key or a secret.

/** Prefix of the attributes that no convention names. */
const OWN = 'pod_identity_broker';

/** How a request found its session. */
export type LookupResult = 'hit' | 'joined' | 'miss' | 'stale';

/** Whose session a span is about. */
export interface TracedSession {
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly scope: string;
}

/** When a worker thread did something, by its own clock. */
export interface WorkTimes {
  readonly startedAt: EpochMs;
  readonly endedAt: EpochMs;
}

/** How a call to EKS Auth ended. */
export interface TracedCall {
  readonly code?: string | undefined;
  readonly kind?: string | undefined;
  readonly message?: string | undefined;
  readonly requestId?: string | undefined;
  readonly times?: WorkTimes | undefined;
}

/** Makes the broker's spans; there is none where nobody collects them. */
export class Tracing {
  readonly #tracer: Tracer;
  readonly #trustTraceparent: boolean;

  /**
   * @param tracer - Of a provider that collects.
   * @param trustTraceparent - Make a pod's own trace the parent of its request's, and so let
   *   pods decide what is sampled. Otherwise theirs is linked.
   */
  constructor(tracer: Tracer, trustTraceparent: boolean) {
    this.#tracer = tracer;
    this.#trustTraceparent = trustTraceparent;
  }

  /** Begins the span of a request (conventions for HTTP servers). */
  request(request: IncomingMessage): RequestTrace {
    const incoming = propagation.extract(ROOT_CONTEXT, request.headers);
    const remote = trace.getSpanContext(incoming);
    const { localAddress, localPort, remoteAddress } = request.socket;
    const path = (request.url ?? '').split('?', 1)[0] ?? '';
    const known = path === '/v1/credentials';
    const span = this.#tracer.startSpan(
      known ? `${request.method} ${path}` : `${request.method}`,
      {
        kind: SpanKind.SERVER,
        attributes: {
          'http.request.method': request.method ?? '',
          'url.scheme': 'http',
          'url.path': path.slice(0, 128),
          ...(known && { 'http.route': path }),
          'network.protocol.version': request.httpVersion,
          'client.address': remoteAddress ?? '',
          'server.address': localAddress ?? '',
          'server.port': localPort ?? 0,
        },
        links: remote === undefined || this.#trustTraceparent ? [] : [{ context: remote }],
      },
      this.#trustTraceparent ? incoming : ROOT_CONTEXT,
    );
    return new RequestTrace(this.#tracer, span);
  }

  /** Begins the trace of a renewal, linked to the fetch that brought what is renewed. */
  renewal(session: TracedSession, earlier: SpanContext | undefined): FetchTrace {
    const links = earlier === undefined ? [] : [{ context: earlier }];
    const root = this.#tracer.startSpan(
      'renew session',
      { kind: SpanKind.INTERNAL, attributes: ofSession(session), links },
      ROOT_CONTEXT,
    );
    return new FetchTrace(this.#tracer, session, trace.setSpan(ROOT_CONTEXT, root), root);
  }
}

/** The trace of one request, from the request line to the answer. */
export class RequestTrace {
  readonly #tracer: Tracer;
  readonly #span: Span;
  readonly #context: Context;

  constructor(tracer: Tracer, span: Span) {
    this.#tracer = tracer;
    this.#span = span;
    this.#context = trace.setSpan(ROOT_CONTEXT, span);
  }

  /** The token was judged. */
  verified(
    startedAt: EpochMs,
    verdict: string,
    detail: string | undefined,
    times: WorkTimes | undefined,
  ): void {
    const span = this.#tracer.startSpan(
      'verify token',
      {
        startTime: startedAt,
        attributes: { [`${OWN}.verdict`]: verdict, ...(detail && { [`${OWN}.reason`]: detail }) },
      },
      this.#context,
    );
    if (verdict === 'refused') span.setStatus({ code: SpanStatusCode.ERROR });
    if (times !== undefined) {
      this.#tracer
        .startSpan(
          'check token on a worker',
          { startTime: times.startedAt },
          trace.setSpan(this.#context, span),
        )
        .end(times.endedAt);
    }
    span.end();
  }

  /** The session was looked up; `fetchedBy` is the span of the fetch that is waited for. */
  lookedUp(result: LookupResult, session: TracedSession, fetchedBy?: SpanContext): void {
    this.#span.setAttributes({ ...ofSession(session), [`${OWN}.lookup`]: result });
    const span = this.#tracer.startSpan(
      'look up session',
      { attributes: { [`${OWN}.lookup`]: result } },
      this.#context,
    );
    span.end();
    if (result === 'joined' && fetchedBy !== undefined) this.#span.addLink({ context: fetchedBy });
  }

  /** Begins the span of a fetch that this request starts. */
  fetch(session: TracedSession): FetchTrace {
    return new FetchTrace(this.#tracer, session, this.#context);
  }

  /** The request was answered (conventions for HTTP servers). */
  answered(status: number, code?: string): void {
    this.#span.setAttribute('http.response.status_code', status);
    if (code !== undefined) this.#span.setAttribute('error.type', code);
    if (status >= 500) this.#span.setStatus({ code: SpanStatusCode.ERROR });
    this.#span.end();
  }
}

/**
 * The span of a call to EKS Auth with all its attempts (conventions for RPC clients). It goes
 * on when the request that started it was answered.
 */
export class FetchTrace {
  readonly #span: Span;
  readonly #root: Span | undefined;

  constructor(tracer: Tracer, session: TracedSession, parent: Context, root?: Span) {
    this.#root = root;
    this.#span = tracer.startSpan(
      'EKS Auth/AssumeRoleForPodIdentity',
      {
        kind: SpanKind.CLIENT,
        attributes: {
          ...ofSession(session),
          'rpc.system': 'aws-api',
          'rpc.service': 'EKS Auth',
          'rpc.method': 'AssumeRoleForPodIdentity',
        },
      },
      parent,
    );
  }

  /** For links to this fetch. */
  get context(): SpanContext {
    return this.#span.spanContext();
  }

  /** An attempt has ended, at the times that its worker thread reports. */
  attempt(number: number, { code, kind, requestId, times }: TracedCall): void {
    const attributes: Attributes = {
      [`${OWN}.attempt`]: number,
      ...(code !== undefined && { 'error.type': code }),
      ...(kind !== undefined && { [`${OWN}.failure`]: kind }),
      ...(requestId && { 'aws.request_id': requestId }),
      ...(times && { [`${OWN}.duration_ms`]: times.endedAt - times.startedAt }),
    };
    this.#span.addEvent('attempt', attributes, times?.startedAt);
  }

  /** The next attempt waits. */
  backOff(pause: DurationMs, cause: string): void {
    this.#span.addEvent('back-off', { [`${OWN}.pause_ms`]: pause, [`${OWN}.failure`]: cause });
  }

  /** The fetch has ended. */
  end({ code, message, requestId }: TracedCall): void {
    if (requestId) this.#span.setAttribute('aws.request_id', requestId);
    for (const span of [this.#span, this.#root]) {
      if (code !== undefined) {
        span?.setAttribute('error.type', code);
        span?.setStatus({ code: SpanStatusCode.ERROR, message: message ?? '' });
      }
      span?.end();
    }
  }
}

function ofSession({ namespace, serviceAccount, scope }: TracedSession): Attributes {
  return {
    'k8s.namespace.name': namespace,
    'k8s.serviceaccount.name': serviceAccount,
    [`${OWN}.scope`]: scope,
  };
}
