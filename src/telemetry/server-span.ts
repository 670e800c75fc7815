import type { IncomingMessage } from 'node:http';
import type { Attributes } from '@opentelemetry/api';
import {
  ATTR_CLIENT_ADDRESS,
  ATTR_HTTP_REQUEST_METHOD,
  ATTR_HTTP_REQUEST_METHOD_ORIGINAL,
  ATTR_HTTP_ROUTE,
  ATTR_NETWORK_PROTOCOL_VERSION,
  ATTR_SERVER_ADDRESS,
  ATTR_SERVER_PORT,
  ATTR_URL_PATH,
  ATTR_URL_SCHEME,
  HTTP_REQUEST_METHOD_VALUE_OTHER,
} from '@opentelemetry/semantic-conventions';
import { scrub } from './scrub.ts';

/** The one route that there is. */
const ROUTE = '/v1/credentials';

/** Methods that the conventions know (RFC 9110 and PATCH of RFC 5789, and QUERY). */
const KNOWN_METHODS: ReadonlySet<string> = new Set([
  'CONNECT',
  'DELETE',
  'GET',
  'HEAD',
  'OPTIONS',
  'PATCH',
  'POST',
  'PUT',
  'QUERY',
  'TRACE',
]);

/**
 * Name and attributes of a server span, by OpenTelemetry's semantic conventions for HTTP.
 *
 * @see https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-server-span
 */
export function describeRequest(request: IncomingMessage): {
  readonly name: string;
  readonly attributes: Attributes;
} {
  const { method = '', url = '', httpVersion } = request;
  const { localAddress, localPort, remoteAddress } = request.socket;
  const path = url.split('?', 1)[0] ?? '';
  const known = KNOWN_METHODS.has(method);
  const routed = path === ROUTE;
  const verb = known ? method : 'HTTP';
  return {
    name: routed ? `${verb} ${ROUTE}` : verb,
    attributes: {
      [ATTR_HTTP_REQUEST_METHOD]: known ? method : HTTP_REQUEST_METHOD_VALUE_OTHER,
      ...(!known && { [ATTR_HTTP_REQUEST_METHOD_ORIGINAL]: method }),
      ...(routed && { [ATTR_HTTP_ROUTE]: ROUTE }),
      [ATTR_URL_SCHEME]: 'http',
      // Whoever mistakes it for the place of a token must not find the token in a trace.
      [ATTR_URL_PATH]: scrub(path).slice(0, 128),
      [ATTR_NETWORK_PROTOCOL_VERSION]: httpVersion,
      // A connection that was reset meanwhile has no addresses any more.
      ...(remoteAddress !== undefined && { [ATTR_CLIENT_ADDRESS]: remoteAddress }),
      // Of the socket, not of the Host header: a client may write anything there.
      ...(localAddress !== undefined && { [ATTR_SERVER_ADDRESS]: localAddress }),
      ...(localPort !== undefined && { [ATTR_SERVER_PORT]: localPort }),
    },
  };
}
