import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';

/** How long Chromium may take to start, and a command to be answered. */
const WITHIN = 30_000;

/** The Chromium that is installed; undefined where there is none. */
export function findChromium(): string | undefined {
  return ['chromium', 'chromium-browser', 'google-chrome'].find(
    (name) => spawnSync(name, ['--version'], { stdio: 'ignore' }).status === 0,
  );
}

/** How a page is shown. */
export interface View {
  readonly width: number;
  readonly height: number;
  readonly scheme: 'light' | 'dark';
}

/** A page in a real browser. */
export interface BrowserPage extends AsyncDisposable {
  /** Errors and warnings that the page has caused so far: console, exceptions, loading. */
  readonly complaints: readonly string[];
  /** Addresses that the page has asked for so far, its own among them. */
  readonly requests: readonly string[];
  show(view: View): Promise<void>;
  /** The value of an expression in the page. */
  evaluate<T>(expression: string): Promise<T>;
  /** A picture of the view, or of a part of the page, as PNG. */
  screenshot(clip?: { y: number; height: number; width: number }): Promise<Buffer>;
}

/** Opens a page in a headless Chromium of its own, over the DevTools protocol. */
export async function openPage(program: string, url: string): Promise<BrowserPage> {
  const profile = mkdtempSync(join(tmpdir(), 'broker-chromium-'));
  const child = spawn(
    program,
    [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      '--hide-scrollbars',
      '--remote-debugging-port=0',
      `--user-data-dir=${profile}`,
      'about:blank',
    ],
    { stdio: 'ignore' },
  );
  const close = async () => {
    const ended = child.exitCode === null ? once(child, 'exit') : undefined;
    child.kill('SIGKILL');
    await ended;
    rmSync(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  };
  try {
    const page = await connect(await pageSocket(profile));
    await page.send('Page.enable');
    await page.send('Runtime.enable');
    await page.send('Log.enable');
    await page.send('Network.enable');
    const loaded = page.event('Page.loadEventFired');
    await page.send('Page.navigate', { url });
    await loaded;
    return {
      complaints: page.complaints,
      requests: page.requests,
      show: async ({ width, height, scheme }) => {
        const metrics = { width, height, deviceScaleFactor: 1, mobile: width < 600 };
        await page.send('Emulation.setDeviceMetricsOverride', metrics);
        await page.send('Emulation.setEmulatedMedia', {
          features: [{ name: 'prefers-color-scheme', value: scheme }],
        });
      },
      evaluate: async <T>(expression: string) => {
        const answer = await page.send('Runtime.evaluate', { expression, returnByValue: true });
        return (answer.result as { value: T }).value;
      },
      screenshot: async (clip) => {
        const answer = await page.send('Page.captureScreenshot', {
          captureBeyondViewport: clip !== undefined,
          ...(clip && { clip: { x: 0, scale: 1, ...clip } }),
        });
        return Buffer.from(answer.data as string, 'base64');
      },
      [Symbol.asyncDispose]: close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

async function pageSocket(profile: string): Promise<string> {
  const file = join(profile, 'DevToolsActivePort');
  const deadline = performance.now() + WITHIN;
  while (performance.now() < deadline) {
    const port = existsSync(file) ? readFileSync(file, 'utf8').split('\n')[0] : undefined;
    if (port !== undefined && port !== '') {
      const targets = (await (await fetch(`http://127.0.0.1:${port}/json/list`)).json()) as {
        type: string;
        webSocketDebuggerUrl: string;
      }[];
      const page = targets.find(({ type }) => type === 'page');
      if (page !== undefined) return page.webSocketDebuggerUrl;
    }
    await pause(50);
  }
  throw new Error('Chromium has not started');
}

type Answer = Record<string, unknown>;
interface Message {
  id?: number;
  method?: string;
  params?: Answer;
  result?: Answer;
  error?: { message: string };
}

async function connect(url: string) {
  const socket = new WebSocket(url);
  const pending = new Map<number, PromiseWithResolvers<Answer>>();
  const awaited = new Map<string, () => void>();
  const complaints: string[] = [];
  const requests: string[] = [];
  socket.addEventListener('message', ({ data }) => {
    const message = JSON.parse(String(data)) as Message;
    if (message.id !== undefined) {
      const waiting = pending.get(message.id);
      pending.delete(message.id);
      if (message.error !== undefined) waiting?.reject(new Error(message.error.message));
      else waiting?.resolve(message.result ?? {});
      return;
    }
    const complaint = complaintOf(message);
    if (complaint !== undefined) complaints.push(complaint);
    if (message.method === 'Network.requestWillBeSent') {
      const request = message.params?.request as { url: string } | undefined;
      requests.push(request?.url ?? '');
    }
    awaited.get(message.method ?? '')?.();
  });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  socket.addEventListener('open', () => resolve());
  socket.addEventListener('error', () => reject(new Error('no connection to Chromium')));
  await promise;
  let lastId = 0;
  return {
    complaints,
    requests,
    send(method: string, params: Answer = {}): Promise<Answer> {
      lastId += 1;
      const answer = Promise.withResolvers<Answer>();
      pending.set(lastId, answer);
      socket.send(JSON.stringify({ id: lastId, method, params }));
      return answer.promise;
    },
    event(name: string): Promise<void> {
      const happened = Promise.withResolvers<void>();
      awaited.set(name, happened.resolve);
      return happened.promise;
    },
  };
}

function complaintOf({ method, params }: Message): string | undefined {
  switch (method) {
    case 'Runtime.exceptionThrown':
      return JSON.stringify(params?.exceptionDetails);
    case 'Runtime.consoleAPICalled':
      return ['error', 'warning', 'assert'].includes(params?.type as string)
        ? JSON.stringify(params?.args)
        : undefined;
    case 'Log.entryAdded': {
      const entry = params?.entry as { level: string; text: string };
      return ['error', 'warning'].includes(entry.level) ? entry.text : undefined;
    }
    case 'Network.loadingFailed':
      return `not loaded: ${String(params?.errorText)}`;
    default:
      return undefined;
  }
}
