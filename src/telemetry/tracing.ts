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
import {
  ATTR_RPC_METHOD,
  ATTR_RPC_SYSTEM_NAME,
  ATTR_SERVER_ADDRESS,
  ATTR_SERVER_PORT,
} from '@opentelemetry/semantic-conventions';
import type { DurationMs, EpochMs } from '../clock.ts';
import { describeRequest } from './server-span.ts';
import {
  ATTEMPT_EVENT,
  AWS_REQUEST_ID,
  BACK_OFF_EVENT,
  CALL_SPAN,
  CLOUD_REGION,
  DURATION_MS,
  ERROR_TYPE,
  FROM_STORE,
  LOOKUP,
  NAMESPACE,
  OWN,
  PAUSE_MS,
  REFUSAL,
  RENEWAL_SPAN,
  SERVICE_ACCOUNT,
  STATUS_CODE,
} from './span-names.ts';
import { TraceTime, type WorkTimes } from './trace-time.ts';

// Every span and event of the broker is made in this file, and named here or in span-names.ts.
// Attributes without the broker's prefix are OpenTelemetry's own, from its semantic conventions.
// None of them ever holds a token, a key or a secret.

export type { WorkTimes } from './trace-time.ts';

/** How a request found its session. */
export type LookupResult = 'hit' | 'joined' | 'miss' | 'stale';

/** Whose session a span is about. */
export interface TracedSession {
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly scope: string;
}

/** Where EKS Auth was called. */
export interface CalledServer {
  readonly region: string;
  readonly address: string;
  readonly port: number;
}

/** How a call to EKS Auth ended. */
export interface TracedCall {
  readonly code?: string | undefined;
  readonly kind?: string | undefined;
  readonly message?: string | undefined;
  readonly requestId?: string | undefined;
  /** HTTP status of a failure, where there was an answer. */
  readonly status?: number | undefined;
  readonly times?: WorkTimes | undefined;
  readonly server?: CalledServer | undefined;
}

/** Where spans go, and which traces are worth making them for. */
export interface SpanSource {
  readonly tracer: Tracer;
  /**
   * Whether the trace that begins next is kept. To be asked before its first span is made.
   *
   * @param parent - What it belongs to: a pod's own trace, or nothing (`ROOT_CONTEXT`).
   */
  samples(parent: Context): boolean;
}

/**
 * Makes the broker's spans; there is none where nobody collects them.
 *
 * Sampling is decided once for each trace, before anything is made for it. A request that is not
 * sampled has no trace at all, and costs no more than that decision.
 */
export class Tracing {
  readonly #source: SpanSource;
  readonly #trustTraceparent: boolean;

  /**
   * @param trustTraceparent - Make a pod's own trace the parent of its request's, and so let
   *   pods decide what is sampled. Otherwise theirs is linked.
   */
  constructor(source: SpanSource, trustTraceparent: boolean) {
    this.#source = source;
    this.#trustTraceparent = trustTraceparent;
  }

  /**
   * Begins the span of a request (conventions for HTTP servers).
   *
   * @returns Undefined where the request is not sampled.
   */
  request(request: IncomingMessage): RequestTrace | undefined {
    const { tracer } = this.#source;
    const parent = this.#trustTraceparent ? remoteContext(request) : ROOT_CONTEXT;
    if (!this.#source.samples(parent)) return undefined;
    const time = new TraceTime();
    const startTime = time.now();
    const { name, attributes } = describeRequest(request);
    const linked = this.#trustTraceparent
      ? undefined
      : trace.getSpanContext(remoteContext(request));
    const links = linked === undefined ? [] : [{ context: linked }];
    const span = tracer.startSpan(
      name,
      { kind: SpanKind.SERVER, startTime, attributes, links },
      parent,
    );
    return new RequestTrace(tracer, span, time, startTime);
  }

  /**
   * Begins the trace of a renewal, linked to the fetch that brought what is renewed.
   *
   * @param earlier - That fetch's span, where it was sampled.
   * @returns Undefined where the renewal is not sampled.
   */
  renewal(session: TracedSession, earlier: SpanContext | undefined): FetchTrace | undefined {
    const { tracer } = this.#source;
    if (!this.#source.samples(ROOT_CONTEXT)) return undefined;
    const links = earlier === undefined ? [] : [{ context: earlier }];
    const time = new TraceTime();
    const root = tracer.startSpan(
      RENEWAL_SPAN,
      {
        kind: SpanKind.INTERNAL,
        startTime: time.now(),
        attributes: ofSession(session),
        links,
      },
      ROOT_CONTEXT,
    );
    return new FetchTrace(tracer, session, trace.setSpan(ROOT_CONTEXT, root), time, root);
  }
}

/** The pod's own trace, where the request names one. */
function remoteContext({ headers }: IncomingMessage): Context {
  return headers.traceparent === undefined
    ? ROOT_CONTEXT
    : propagation.extract(ROOT_CONTEXT, headers);
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
    if (verdict === 'refused') {
      span.setAttribute(ERROR_TYPE, 'refused');
      span.setStatus({ code: SpanStatusCode.ERROR });
    }
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

  /**
   * The request was answered. By the conventions for HTTP servers only 5xx are errors: what a
   * client did wrong is told by an attribute of our own.
   *
   * @param code - Of an answer without credentials, as in its body.
   */
  answered(status: number, code?: string): void {
    this.#span.setAttribute(STATUS_CODE, status);
    if (status >= 500) {
      this.#span.setAttribute(ERROR_TYPE, code ?? String(status));
      this.#span.setStatus({ code: SpanStatusCode.ERROR });
    } else if (code !== undefined) this.#span.setAttribute(REFUSAL, code);
    this.#span.end(this.#time.now());
  }
}

/**
 * The span of a call to EKS Auth with all its attempts (conventions for RPC and for clients of
 * AWS). It goes on when the request that started it was answered.
 *
 * @see https://opentelemetry.io/docs/specs/semconv/cloud-providers/aws-sdk/
 */
export class FetchTrace {
  readonly #span: Span;
  readonly #root: Span | undefined;
  readonly #time: TraceTime;
  readonly #startedAt: EpochMs;
  /** Of the latest attempt's answer. */
  #status: number | undefined;

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
      CALL_SPAN,
      {
        kind: SpanKind.CLIENT,
        startTime: this.#startedAt,
        attributes: {
          ...ofSession(session),
          [ATTR_RPC_SYSTEM_NAME]: 'aws-api',
          [ATTR_RPC_METHOD]: 'EKSAuth/AssumeRoleForPodIdentity',
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
  attempt(number: number, { code, kind, requestId, status, times, server }: TracedCall): void {
    if (server !== undefined) {
      this.#span.setAttributes({
        [CLOUD_REGION]: server.region,
        [ATTR_SERVER_ADDRESS]: server.address,
        [ATTR_SERVER_PORT]: server.port,
      });
    }
    this.#status = kind === undefined ? 200 : status;
    const attributes: Attributes = {
      [`${OWN}.attempt`]: number,
      ...(code !== undefined && { [ERROR_TYPE]: code }),
      ...(kind !== undefined && { [`${OWN}.failure`]: kind }),
      ...(this.#status !== undefined && { [STATUS_CODE]: this.#status }),
      ...(requestId && { [AWS_REQUEST_ID]: requestId }),
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
      BACK_OFF_EVENT,
      { [PAUSE_MS]: Math.round(pause), [`${OWN}.failure`]: cause },
      this.#time.now(),
    );
  }

  /** The fetch has ended. */
  end({ code, message, requestId }: TracedCall): void {
    if (requestId) this.#span.setAttribute(AWS_REQUEST_ID, requestId);
    if (this.#status !== undefined) {
      this.#span.setAttribute(STATUS_CODE, this.#status);
    }
    const endedAt = this.#time.now();
    for (const span of [this.#span, this.#root]) {
      if (code !== undefined) {
        span?.setAttribute(ERROR_TYPE, code);
        span?.setStatus({ code: SpanStatusCode.ERROR, message: message ?? '' });
      }
      span?.end(endedAt);
    }
  }
}

function ofSession({ namespace, serviceAccount, scope }: TracedSession): Attributes {
  return {
    [NAMESPACE]: namespace,
    [SERVICE_ACCOUNT]: serviceAccount,
    [`${OWN}.scope`]: scope,
  };
}
