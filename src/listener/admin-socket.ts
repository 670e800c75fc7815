import { chmod, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { text } from 'node:stream/consumers';
import type { Log } from '../telemetry/log.ts';
import { HAND_OVER_PATH, HandedOverError, type HandOverActions, handOver } from './hand-over.ts';
import { ownFolder } from './own-folder.ts';

/** Whose sessions a flush lets go of; neither: everybody's. */
export interface FlushRequest {
  readonly namespace?: string;
  readonly serviceAccount?: string;
}

/** What a flush came to. */
export interface FlushAnswer {
  /** How many sessions were let go of. */
  readonly flushed: number;
  /** Whether the store of sessions has let go of them too; undefined where there is none. */
  readonly reachedStore?: boolean | undefined;
  /** Whether the broker before this one has too, where one still answers; else undefined. */
  readonly reachedPredecessor?: boolean | undefined;
}

/** What the operator can ask for. */
export interface AdminActions {
  /**
   * Lets go of sessions.
   *
   * @throws HandedOverError
   */
  flush(chosen: FlushRequest): Promise<FlushAnswer>;
  /** @returns What the broker holds and how it is doing. */
  status(): unknown;
  /** @returns What it would do with a token, and why. */
  explain(token: string): Promise<unknown>;
  readonly handOver: HandOverActions;
}

/** A socket that cannot be made; `message` says why. */
export class AdminSocketError extends Error {
  override readonly name = 'AdminSocketError';
  readonly code = 'ERR_ADMIN_SOCKET';
  /** Another broker has it. */
  readonly inUse: boolean;

  constructor(message: string, inUse: boolean) {
    super(message);
    this.inUse = inUse;
  }
}

/** More than any command of the operator's; a token may be as long as a header section. */
const MAX_BODY_BYTES = 20_480;

/**
 * HTTP on a socket of the file system, for the operator on the node. Whoever may open its
 * folder is trusted, which is this user alone; no network reaches it.
 */
export class AdminSocket {
  readonly #path: string;
  readonly #actions: AdminActions;
  readonly #server: Server;

  constructor(path: string, actions: AdminActions, log: Log) {
    this.#path = path;
    this.#actions = actions;
    // A hand-over is one request that lasts until one of the two processes is gone.
    this.#server = createServer({ requestTimeout: 0 }, (request, response) => {
      this.#handle(request, response).catch((error: unknown) => {
        if (error instanceof HandedOverError) {
          answer(response, 503, { message: error.message });
          return;
        }
        log.error({ err: error }, 'a command of the operator failed');
        // An exchange that lasts has begun its answer, and may have ended it.
        if (response.headersSent) response.destroy();
        else answer(response, 500, { message: 'the broker failed; its log says how' });
      });
    });
  }

  /**
   * Makes the folder, for this user alone, and the socket in it. One that a broker left when
   * it was killed is replaced; one that a live broker listens on is left to it.
   *
   * @throws AdminSocketError
   */
  async start(): Promise<void> {
    const folder = dirname(this.#path);
    let inUse = false;
    try {
      await ownFolder(folder);
      inUse = await answers(this.#path);
      if (inUse) throw new Error('another broker listens there');
      await rm(this.#path, { force: true });
      await this.#listen();
      await chmod(this.#path, 0o600);
    } catch (error) {
      const reason = (error as Error).message;
      throw new AdminSocketError(`no admin socket at ${this.#path}: ${reason}`, inUse);
    }
  }

  /** Whether it is this broker's own socket that is there. */
  get listening(): boolean {
    return this.#server.listening;
  }

  /** Takes the socket away for a successor, to which the connection stays. */
  release(): void {
    this.#server.close();
  }

  /** Closes the socket and takes it away. */
  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    if (!this.#server.listening) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.close(() => resolve());
    await promise;
  }

  #listen(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#server.once('error', reject);
    this.#server.listen(this.#path, () => {
      this.#server.off('error', reject);
      resolve();
    });
    return promise;
  }

  async #handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const actions = this.#actions;
    switch (`${request.method} ${request.url}`) {
      case 'GET /status':
        answer(response, 200, actions.status());
        return;
      case 'POST /flush':
        await withBody(request, response, flushRequest, (chosen) => actions.flush(chosen));
        return;
      case 'POST /explain':
        await withBody(request, response, explainRequest, ({ token }) => actions.explain(token));
        return;
      case `POST ${HAND_OVER_PATH}`:
        await handOver(request, response, actions.handOver);
        return;
      default:
        answer(response, 404, { message: 'there are GET /status, POST /flush and POST /explain' });
    }
  }
}

/** Answers a request that has a body; `read` gives text for one that is wrong. */
async function withBody<T extends object>(
  request: IncomingMessage,
  response: ServerResponse,
  read: (body: unknown) => T | string,
  act: (asked: T) => unknown,
): Promise<void> {
  if (!(Number(request.headers['content-length']) <= MAX_BODY_BYTES)) {
    answer(response, 413, { message: 'the body is too long, or of unknown length' });
    return;
  }
  let parsed: unknown;
  try {
    parsed = JSON.parse(await text(request));
  } catch {
    answer(response, 400, { message: 'the body is not JSON' });
    return;
  }
  const asked = read(parsed);
  if (typeof asked === 'string') answer(response, 400, { message: asked });
  else answer(response, 200, await act(asked));
}

/** Reads a request to explain a token; text says what is wrong with it. */
function explainRequest(parsed: unknown): { readonly token: string } | string {
  const { token } = (parsed ?? {}) as { token?: unknown };
  return typeof token === 'string' && token !== '' ? { token } : 'token is missing';
}

/** Reads a flush request; text says what is wrong with it. */
function flushRequest(parsed: unknown): FlushRequest | string {
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    return 'the body is not an object';
  }
  for (const [name, value] of Object.entries(parsed)) {
    if (name !== 'namespace' && name !== 'serviceAccount') return `${name} is not known`;
    if (typeof value !== 'string' || value === '') return `${name} is not a name`;
  }
  const { namespace, serviceAccount } = parsed as FlushRequest;
  if (serviceAccount !== undefined && namespace === undefined) {
    return 'serviceAccount needs its namespace';
  }
  return parsed;
}

function answer(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'Content-Type': 'application/json' });
  response.end(`${JSON.stringify(body)}\n`);
}

/** Whether somebody listens on a socket. */
function answers(path: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect(path, () => {
    socket.destroy();
    resolve(true);
  });
  socket.on('error', () => resolve(false));
  return promise;
}
