import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Clock, MonotonicMs } from '../clock.ts';
import { LINK_LOCAL_HOSTS } from '../config/config.ts';
import type { CredentialRequests } from '../sessions/credential-requests.ts';
import type { BoundedLines } from '../telemetry/bounded-lines.ts';
import type { Log } from '../telemetry/log.ts';
import type { Metrics } from '../telemetry/metrics/metrics.ts';
import type { RequestOutcome } from '../telemetry/metrics/request-metrics.ts';
import type { RepeatedFaults } from '../telemetry/repeated-faults.ts';
import type { RequestTrace, Tracing } from '../telemetry/tracing.ts';
import {
  BODY_NOT_ALLOWED,
  type ErrorAnswer,
  errorAnswer,
  errorBody,
  METHOD_NOT_ALLOWED,
  NO_TOKEN,
  NOT_FOUND,
  TOO_MANY_REQUESTS,
  UNEXPECTED,
  WRONG_HOST,
} from './answers.ts';
import { cutOff, discardRest } from './http-server.ts';
import { PROBE_HEADER } from './probes.ts';
import type { Source, Sources } from './sources.ts';

/** The one path that there is. */
export const CREDENTIALS_PATH = '/v1/credentials';

/** What {@link CredentialsEndpoint} is made from. */
export interface CredentialsEndpointOptions {
  /** Answers whoever asks with a token. */
  readonly requests: CredentialRequests;
  readonly metrics: Metrics;
  readonly log: Log;
  /** Sums up refusals. */
  readonly faults: RepeatedFaults;
  /** A line a request, where the log has debug lines. */
  readonly lines: BoundedLines | undefined;
  /** Addresses that pods may ask for by name, beside the two of EKS. */
  readonly bindHosts: readonly string[];
  readonly clock: Clock;
  /** Bounds what one source may ask for. */
  readonly sources: Sources;
  /** What the broker's own probes send, so that they are not counted. */
  readonly probeSecret: () => string;
  /** Makes spans, where traces are collected. */
  readonly tracing: Tracing | undefined;
}

/** Answers `GET /v1/credentials`. */
export class CredentialsEndpoint {
  readonly #options: CredentialsEndpointOptions;
  /** Values of the Host header that are ours, as clients send them. */
  readonly #hosts = new Set<string>();
  /** From now on each answer is the last on its connection. */
  closing = false;

  constructor(options: CredentialsEndpointOptions) {
    this.#options = options;
    for (const host of [...options.bindHosts, ...LINK_LOCAL_HOSTS]) {
      this.#hosts.add(host.includes(':') ? `[${host}]` : host);
    }
  }

  /** Handles one request; never throws and never rejects. */
  handle = (request: IncomingMessage, response: ServerResponse): void => {
    const { clock, requests, tracing } = this.#options;
    const traced = tracing !== undefined && !this.#isProbe(request);
    const trace = traced ? tracing.request(request) : undefined;
    const startedAt = clock.elapsed();
    const { socket } = request;
    try {
      const refusal = this.#refusal(request);
      const token = request.headers.authorization ?? '';
      // Whoever is known by its token is held to its token's rate; all else to its address's.
      const session =
        refusal === undefined && token !== '' ? requests.hit(token, socket, trace) : undefined;
      if (session === undefined) {
        this.#notHit({ token, startedAt, socket }, request, response, refusal, trace);
        return;
      }
      this.#give(response, session.credentials.body, trace);
      this.#count(200, session.lastFailure === undefined ? 'hit' : 'stale', startedAt, socket);
    } catch (error) {
      this.#unexpected(response, error, trace, { startedAt, socket });
    }
  };

  /** Everything but hits counts against the address that it comes from. */
  #notHit(
    asked: Asked,
    request: IncomingMessage,
    response: ServerResponse,
    refusal: ErrorAnswer | undefined,
    trace: RequestTrace | undefined,
  ): void {
    const { sources } = this.#options;
    const { startedAt, socket, token } = asked;
    const source = sources.of(socket);
    const admitted = source.admit(startedAt) || this.#isProbe(request);
    if (!admitted && source.floods) {
      source.shutOut();
      sources.refused(source);
      this.#options.metrics.requests.connectionsRefused.inc();
      cutOff(socket);
      return;
    }
    const answer = admitted
      ? (refusal ?? (token === '' ? NO_TOKEN : undefined))
      : TOO_MANY_REQUESTS;
    if (answer === undefined) {
      this.#obtain(asked, source, response, trace);
      return;
    }
    if (!this.#isProbe(request)) {
      const outcome = answer === TOO_MANY_REQUESTS ? 'limited' : 'invalid';
      this.#count(answer.status, outcome, startedAt, socket);
      this.#logRefusal(answer, addressOf(socket));
    }
    if (answer === BODY_NOT_ALLOWED) {
      sources.charge(socket);
      discardRest(socket);
      // At once: an orderly end would go on reading meanwhile.
      response.once('finish', () => socket.destroy());
    }
    this.#fail(response, answer, trace);
  }

  #count(status: number, outcome: RequestOutcome, startedAt: MonotonicMs, socket: Socket): void {
    const { metrics, clock, lines } = this.#options;
    const duration = clock.elapsed() - startedAt;
    metrics.requests.answered(status, outcome, duration);
    lines?.write({ address: addressOf(socket), status, outcome, durationMs: duration }, 'request');
  }

  /** Says which requests are turned away; a client that errs goes on erring. */
  #logRefusal({ status, code, message: reason }: ErrorAnswer, address: string): void {
    if (status === NOT_FOUND.status || status === METHOD_NOT_ALLOWED.status) return;
    this.#options.faults.report(`${code} ${reason}`, {
      level: 'info',
      fields: { status, code, reason, address },
      message: 'request refused',
    });
  }

  /** Whether the broker asks itself, which counts as nothing and is held up by nothing. */
  #isProbe(request: IncomingMessage): boolean {
    return request.headers[PROBE_HEADER] === this.#options.probeSecret();
  }

  #refusal(request: IncomingMessage): ErrorAnswer | undefined {
    const { url = '', headers } = request;
    if (!this.#isOurs(headers.host)) return WRONG_HOST;
    if (url !== CREDENTIALS_PATH && url.split('?', 1)[0] !== CREDENTIALS_PATH) return NOT_FOUND;
    if (request.method !== 'GET') return METHOD_NOT_ALLOWED;
    return hasBody(headers) ? BODY_NOT_ALLOWED : undefined;
  }

  /** DNS rebinding ends here: a page's own name is in the Host header, not one of ours. */
  #isOurs(host: string | undefined): boolean {
    if (host === undefined) return false;
    return this.#hosts.has(host) || this.#hosts.has(host.replace(/:\d+$/, ''));
  }

  #obtain(
    asked: Asked,
    source: Source,
    response: ServerResponse,
    trace: RequestTrace | undefined,
  ): void {
    const { token, socket, startedAt } = asked;
    const { requests, sources, clock } = this.#options;
    // Judging costs as much as a refusal: who sends many new tokens at once pays for all of them
    // before the first is judged, and is given back what it paid for the good ones.
    const charged = requests.isNew(token);
    if (charged) source.charge(startedAt);
    const address = addressOf(socket);
    sources.waits(socket);
    requests.obtain(token, { address, source: source.name }, trace).then(
      (answer) => {
        sources.answered(socket);
        if (answer.kind === 'bad-token' || answer.kind === 'wrong-pod') {
          if (!charged) source.charge(clock.elapsed());
          sources.refused(source);
        } else if (charged && (answer.kind === 'credentials' || requests.isVerified(token))) {
          // What nobody has proven is not given back: keys that cannot be had make nothing cheap.
          source.refund();
        }
        if (answer.kind === 'credentials') {
          this.#give(response, answer.body, trace);
          this.#count(200, answer.outcome, startedAt, socket);
          return;
        }
        const error = errorAnswer(answer);
        this.#count(error.status, failureOutcome(answer.kind, error.status), startedAt, socket);
        if (answer.kind === 'bad-token') this.#logRefusal(error, address);
        this.#fail(response, error, trace);
      },
      (error: unknown) => {
        sources.answered(socket);
        this.#unexpected(response, error, trace, asked);
      },
    );
  }

  #give(response: ServerResponse, body: string, trace: RequestTrace | undefined): void {
    trace?.answered(200);
    response.writeHead(200, [
      'Content-Type',
      'application/json',
      'Content-Length',
      String(body.length),
      ...(this.closing ? CLOSE : []),
    ]);
    // As latin1 text of a known length, headers and body leave in one write.
    response.end(body, 'latin1');
  }

  #fail(response: ServerResponse, answer: ErrorAnswer, trace: RequestTrace | undefined): void {
    trace?.answered(answer.status, answer.code);
    const body = Buffer.from(errorBody(answer), 'utf8');
    if (answer.retryAfter !== undefined) {
      response.setHeader('Retry-After', Math.max(1, Math.ceil(answer.retryAfter / 1_000)));
    }
    for (const [name, value] of Object.entries(answer.headers ?? {})) {
      response.setHeader(name, value);
    }
    if (this.closing) response.setHeader('Connection', 'close');
    response.setHeader('Content-Type', 'application/json');
    response.setHeader('Content-Length', body.length);
    response.writeHead(answer.status);
    response.end(body);
  }

  #unexpected(
    response: ServerResponse,
    error: unknown,
    trace: RequestTrace | undefined,
    { startedAt, socket }: Pick<Asked, 'startedAt' | 'socket'>,
  ): void {
    this.#count(UNEXPECTED.status, 'error', startedAt, socket);
    this.#options.metrics.process.unexpectedErrors.inc();
    this.#options.log.error({ err: error }, 'a request failed in a way that it should not');
    if (!response.headersSent) this.#fail(response, UNEXPECTED, trace);
    else response.destroy();
  }
}

/** A request that waits for its answer. */
interface Asked {
  readonly token: string;
  readonly socket: Socket;
  readonly startedAt: MonotonicMs;
}

/** Whether a body follows (RFC 9112, section 6): it would be read to the end for nothing. */
function hasBody({ 'transfer-encoding': coding, 'content-length': length }: IncomingHttpHeaders) {
  return coding !== undefined || (length !== undefined && length !== '0');
}

/** One that was reset before it was asked about has none. */
function addressOf(socket: Socket): string {
  return socket.remoteAddress ?? '';
}

function failureOutcome(
  kind: 'bad-token' | 'wrong-pod' | 'failed' | 'too-slow',
  status: number,
): RequestOutcome {
  if (kind === 'bad-token' || kind === 'wrong-pod') return kind;
  if (kind === 'too-slow') return 'pending';
  return status === 503 ? 'failed' : 'refused';
}

const CLOSE: readonly string[] = ['Connection', 'close'];
