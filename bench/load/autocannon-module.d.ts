/** As much of autocannon 9 as is used here; it comes without types. */
declare module 'autocannon' {
  import type { EventEmitter } from 'node:events';

  interface AutocannonRequest {
    path?: string;
    method?: 'GET';
    headers?: Record<string, string>;
  }

  /** One connection. */
  interface Client extends EventEmitter {
    setRequests(requests: AutocannonRequest[]): void;
    setHeaders(headers: Record<string, string>): void;
  }

  interface Options {
    url: string;
    connections?: number;
    /** Seconds. */
    duration?: number;
    /** Requests in all, instead of a duration. */
    amount?: number;
    /** Seconds until a request has failed. */
    timeout?: number;
    /** A new connection after so many requests. */
    reconnectRate?: number;
    /** Requests a second, over all connections. */
    overallRate?: number;
    sampleInt?: number;
    headers?: Record<string, string>;
    requests?: AutocannonRequest[];
    setupClient?(client: Client): void;
    verifyBody?(body: string): boolean;
  }

  interface Result {
    requests: { total: number };
    throughput: { total: number };
    /** Seconds. */
    duration: number;
    errors: number;
    timeouts: number;
    mismatches: number;
    non2xx: number;
    resets: number;
  }

  interface Run extends EventEmitter, PromiseLike<Result> {
    stop(): void;
  }

  export default function autocannon(options: Options): Run;
}
