import type { Clock } from '../clock.ts';
import type { Exchange } from './exchange.ts';
import type { ActiveFault } from './faults.ts';

const GARBAGE = '<html><body>\u0000 not what you expected </body>';

/**
 * Breaks the connection or the body as a fault says, whatever the service.
 *
 * @param whole - The body that a good answer would have had.
 * @returns Whether that was the answer; `false` for faults that only their service can act out.
 */
export function answerBroken(exchange: Exchange, { kind }: ActiveFault, whole: string): boolean {
  switch (kind) {
    case 'reset':
      exchange.audit.errorCode = 'Reset';
      exchange.reset();
      return true;
    case 'black-hole':
      // Nothing, until the caller gives up: the exchange settles when the connection closes.
      exchange.audit.errorCode = 'BlackHole';
      return true;
    case 'garbage':
      exchange.audit.errorCode = 'Garbage';
      exchange.send(200, { 'Content-Type': 'application/json' }, GARBAGE);
      return true;
    case 'half-body':
      exchange.audit.errorCode = 'HalfBody';
      exchange.begin(200, {
        'Content-Type': 'application/json',
        'Content-Length': String(Buffer.byteLength(whole)),
      });
      exchange.response.write(whole.slice(0, whole.length / 2), () => exchange.response.destroy());
      return true;
    case 'endless':
      exchange.audit.errorCode = 'Endless';
      exchange.begin(200, { 'Content-Type': 'application/json' });
      pourForever(exchange);
      return true;
    default:
      return false;
  }
}

/** Waits; resolves at once for 0, and early when the caller goes away. */
export function pause(exchange: Exchange, clock: Clock, delay: number): Promise<void> {
  if (delay <= 0) return Promise.resolve();
  return new Promise((resolve) => {
    const timer = clock.setTimeout(resolve, delay);
    exchange.onSettled(() => {
      clock.clearTimeout(timer);
      resolve();
    });
  });
}

function pourForever(exchange: Exchange): void {
  const { response } = exchange;
  const piece = ' '.repeat(16 * 1024);
  const pour = () => {
    // Yields between pieces, or a reader in this same process would never get its turn.
    if (!response.destroyed && response.write(piece)) setImmediate(pour);
  };
  response.write('{"keys":[');
  response.on('drain', pour);
  pour();
}
