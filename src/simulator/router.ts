import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Clock, EpochMs } from '../clock.ts';
import type { AuditEvent, AuditLog } from './audit.ts';
import type { ControlAPI } from './control-api.ts';
import type { Counters } from './counters.ts';
import type { EKS } from './eks.ts';
import type { EKSAuth } from './eks-auth.ts';
import { BODY_LIMIT, Exchange } from './exchange.ts';
import type { Issuer } from './issuer.ts';
import type { STS } from './sts.ts';
import { TRACES_PATH, type TraceReceiver } from './traces/trace-receiver.ts';

/** The services behind the one port. */
export interface Services {
  clock: Clock;
  serviceNow: () => EpochMs;
  /** The issuer's path, such as `/id/0123…`. */
  issuerPath: string;
  issuer: Issuer;
  eksAuth: EKSAuth;
  eks: EKS;
  sts: STS;
  control: ControlAPI;
  audit: AuditLog;
  counters: Counters;
  /** Takes traces, beside all that AWS has; no call that is logged. */
  traces: TraceReceiver | undefined;
}

/** Where the control API lives; everything else is AWS's or the issuer's. */
export const CONTROL_PREFIX = '_simulator';

/** Tells the services apart by path and method, and logs every call to one of them. */
export function createRouter(services: Services) {
  return (request: IncomingMessage, response: ServerResponse): void => {
    const { clock, serviceNow, traces } = services;
    if (traces !== undefined && request.url === TRACES_PATH) {
      traces.handle(request, response);
      return;
    }
    const exchange = new Exchange(request, response, clock.now(), serviceNow);
    serve(exchange, services).catch((error: unknown) => {
      exchange.audit.errorCode = 'SimulatorDefect';
      exchange.audit.errorMessage = String(error);
      if (response.headersSent) response.destroy();
      else exchange.json(500, { message: `defect of the simulator: ${String(error)}` });
    });
  };
}

async function serve(exchange: Exchange, services: Services): Promise<void> {
  const segments = exchange.segments ?? [];
  if (segments[0] === CONTROL_PREFIX) {
    if (await admit(exchange)) await services.control.serve(exchange, segments.slice(1));
    return;
  }
  record(exchange, services);
  const document = issuerDocument(exchange.path, services.issuerPath);
  if (document !== undefined) exchange.audit.service = 'issuer';
  else if (segments[0] === 'clusters') {
    const assume = exchange.method === 'POST' && segments[2] === 'assume-role-for-pod-identity';
    exchange.audit.service = assume ? 'eks-auth' : 'eks';
    if (assume) exchange.audit.operation = 'AssumeRoleForPodIdentity';
  } else if (exchange.path === '/') exchange.audit.service = 'sts';
  if (!(await admit(exchange))) return;
  switch (exchange.audit.service) {
    case 'issuer':
      return services.issuer.serve(exchange, document as 'configuration' | 'keys');
    case 'eks-auth':
      return services.eksAuth.serve(exchange, segments[1] ?? '');
    case 'eks':
      return services.eks.serve(exchange, segments.slice(1));
    case 'sts':
      return services.sts.serve(exchange);
    default:
      exchange.audit.errorCode = 'NotFound';
      return exchange.json(404, { message: 'Not Found' });
  }
}

/** Reads the body; one that is too long is refused here. */
async function admit(exchange: Exchange): Promise<boolean> {
  if (await exchange.readBody()) return true;
  exchange.audit.errorCode ??= 'RequestEntityTooLarge';
  exchange.json(
    413,
    { message: `The body has more than ${BODY_LIMIT} bytes.` },
    { Connection: 'close' },
  );
  return false;
}

function record(exchange: Exchange, { audit, clock, counters }: Services): void {
  exchange.onSettled((status) => {
    const { service = 'unknown', operation = 'Unknown', ...draft } = exchange.audit;
    const userAgent = exchange.request.headers['user-agent']?.slice(0, 200);
    const event: Omit<AuditEvent, 'sequence'> = {
      time: exchange.receivedAt,
      duration: clock.now() - exchange.receivedAt,
      service,
      operation,
      requestId: exchange.requestId,
      ...draft,
      status,
      ...(status === 0 && { errorCode: draft.errorCode ?? 'ClientClosed' }),
      ...(userAgent !== undefined && { userAgent }),
    };
    audit.add(event);
    counters.finished(event);
  });
}

function issuerDocument(path: string, issuerPath: string): 'configuration' | 'keys' | undefined {
  if (path === `${issuerPath}/keys`) return 'keys';
  return path === `${issuerPath}/.well-known/openid-configuration` ? 'configuration' : undefined;
}
