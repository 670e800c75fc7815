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
import { scrub } from './scrub.ts';
import {
  ATTEMPT_EVENT,
  DURATION_MS,
  FROM_STORE,
  LOOKUP,
  OWN,
  RENEWAL_SPAN,
  STATUS_CODE,
} from './span-names.ts';

// Every span, event and attribute of the broker is named in this file and in span-names.ts.
// Names without the prefix are OpenTelemetry's own, from its semantic conventions for HTTP
// and RPC. None of them ever holds a token, a key or a secret.

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

/**
 * The time within one trace: fine enough for what takes microseconds, and in order, even where
 * the node's clock is set meanwhile.
 */
class TraceTime {
  readonly #base = Date.now() - performance.now();

  now(): EpochMs {
    return this.#base + performance.now();
  }

  /** What was reported by another clock, moved into the time since `start`. */
  within(start: EpochMs, { startedAt, endedAt }: WorkTimes): WorkTimes {
    const now = this.now();
    const duration = Math.min(Math.max(0, endedAt - startedAt), now - start);
    const moved = Math.min(Math.max(startedAt, start), now - duration);
    return { startedAt: moved, endedAt: moved + duration };
  }
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
    const time = new TraceTime();
    const startTime = time.now();
    const span = this.#tracer.startSpan(
      known ? `${request.method} ${path}` : `${request.method}`,
      {
        kind: SpanKind.SERVER,
        startTime,
        attributes: {
          'http.request.method': request.method ?? '',
          'url.scheme': 'http',
          // Whoever mistakes it for the place of a token must not find the token in a trace.
          'url.path': scrub(path).slice(0, 128),
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
    return new RequestTrace(this.#tracer, span, time, startTime);
  }

  /** Begins the trace of a renewal, linked to the fetch that brought what is renewed. */
  renewal(session: TracedSession, earlier: SpanContext | undefined): FetchTrace {
    const links = earlier === undefined ? [] : [{ context: earlier }];
    const time = new TraceTime();
    const root = this.#tracer.startSpan(
      RENEWAL_SPAN,
      {
        kind: SpanKind.INTERNAL,
        startTime: time.now(),
        attributes: ofSession(session),
        links,
      },
      ROOT_CONTEXT,
    );
    return new FetchTrace(this.#tracer, session, trace.setSpan(ROOT_CONTEXT, root), time, root);
  }
}

/** The trace of one request, from the request line to the answer. */
export class RequestTrace {
  readonly #tracer: Tracer;
  readonly #span: Span;
  readonly #context: Context;
  readonly #time: TraceTime;
  readonly #startedAt: EpochMs;

  constructor(tracer: Tracer, span: Span, time: TraceTime, startedAt: EpochMs) {
    this.#tracer = tracer;
    this.#span = span;
    this.#context = trace.setSpan(ROOT_CONTEXT, span);
    this.#time = time;
    this.#startedAt = startedAt;
  }

  /** The token was judged. */
  verified(
    startedAt: EpochMs,
    verdict: string,
    detail: string | undefined,
    times: WorkTimes | undefined,
  ): void {
    // It was taken by a clock that counts whole milliseconds.
    const startTime = Math.min(Math.max(startedAt, this.#startedAt), this.#time.now());
    const span = this.#tracer.startSpan(
      'verify token',
      {
        startTime,
        attributes: { [`${OWN}.verdict`]: verdict, ...(detail && { [`${OWN}.reason`]: detail }) },
      },
      this.#context,
    );
    if (verdict === 'refused') span.setStatus({ code: SpanStatusCode.ERROR });
    if (times !== undefined) {
      const worked = this.#time.within(startTime, times);
      this.#tracer
        .startSpan(
          'check token on a worker',
          { startTime: worked.startedAt },
          trace.setSpan(this.#context, span),
        )
        .end(worked.endedAt);
    }
    span.end(this.#time.now());
  }

  /** The session was looked up; `fetchedBy` is the span of the fetch that is waited for. */
  lookedUp(result: LookupResult, session: TracedSession, fetchedBy?: SpanContext): void {
    this.#span.setAttributes({ ...ofSession(session), [LOOKUP]: result });
    const span = this.#tracer.startSpan(
      'look up session',
      { startTime: this.#time.now(), attributes: { [LOOKUP]: result } },
      this.#context,
    );
    span.end(this.#time.now());
    if (result === 'joined' && fetchedBy !== undefined) this.#span.addLink({ context: fetchedBy });
  }

  /** Begins the span of a fetch that this request starts. */
  fetch(session: TracedSession): FetchTrace {
    return new FetchTrace(this.#tracer, session, this.#context, this.#time);
  }

  /** The request was answered (conventions for HTTP servers). */
  answered(status: number, code?: string): void {
    this.#span.setAttribute(STATUS_CODE, status);
    if (code !== undefined) this.#span.setAttribute('error.type', code);
    if (status >= 500) this.#span.setStatus({ code: SpanStatusCode.ERROR });
    this.#span.end(this.#time.now());
  }
}

/**
 * The span of a call to EKS Auth with all its attempts (conventions for RPC clients). It goes
 * on when the request that started it was answered.
 */
export class FetchTrace {
  readonly #span: Span;
  readonly #root: Span | undefined;
  readonly #time: TraceTime;
  readonly #startedAt: EpochMs;

  constructor(
    tracer: Tracer,
    session: TracedSession,
    parent: Context,
    time: TraceTime,
    root?: Span,
  ) {
    this.#root = root;
    this.#time = time;
    this.#startedAt = time.now();
    this.#span = tracer.startSpan(
      'EKS Auth/AssumeRoleForPodIdentity',
      {
        kind: SpanKind.CLIENT,
        startTime: this.#startedAt,
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
      ...(times && { [DURATION_MS]: times.endedAt - times.startedAt }),
    };
    const at = times === undefined ? undefined : this.#time.within(this.#startedAt, times);
    this.#span.addEvent(ATTEMPT_EVENT, attributes, at?.startedAt ?? this.#time.now());
  }

  /** The credentials were kept, by this broker before a restart or by another: no call is made. */
  fromStore(): void {
    this.#span.setAttribute(FROM_STORE, true);
  }

  /** The next attempt waits. */
  backOff(pause: DurationMs, cause: string): void {
    this.#span.addEvent(
      'back-off',
      { [`${OWN}.pause_ms`]: Math.round(pause), [`${OWN}.failure`]: cause },
      this.#time.now(),
    );
  }

  /** The fetch has ended. */
  end({ code, message, requestId }: TracedCall): void {
    if (requestId) this.#span.setAttribute('aws.request_id', requestId);
    const endedAt = this.#time.now();
    for (const span of [this.#span, this.#root]) {
      if (code !== undefined) {
        span?.setAttribute('error.type', code);
        span?.setStatus({ code: SpanStatusCode.ERROR, message: message ?? '' });
      }
      span?.end(endedAt);
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
