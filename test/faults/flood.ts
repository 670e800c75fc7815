import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { parseArgs } from 'node:util';

// A pod that floods the broker, hoards connections to it, or only burns as much CPU: a process of
// its own, so that what it takes from the machine it takes from everybody. It says `ready` and ends
// with a line of counts.

const { values } = parseArgs({
  options: {
    host: { type: 'string', default: '169.254.170.23' },
    /** A token whose payload is varied; the signature is never right. */
    token: { type: 'string', default: '' },
    /** At once, and then a second. */
    rate: { type: 'string', default: '2000' },
    milliseconds: { type: 'string', default: '' },
    burn: { type: 'boolean', default: false },
    /** Connections to open and to say nothing on, until standard input ends. */
    hoard: { type: 'string', default: '0' },
  },
});
const rate = Number(values.rate);
const duration = Number(values.milliseconds);
const answers: Record<string, number> = {};
let sent = 0;

/** Under the same key id, and with claims that would pass. */
function forge(): string {
  const [header, payload = ''] = values.token.split('.');
  const claims = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8'));
  claims.jti = randomBytes(8).toString('hex');
  const changed = Buffer.from(JSON.stringify(claims)).toString('base64url');
  return `${header}.${changed}.${randomBytes(256).toString('base64url')}`;
}

function shoot(): void {
  sent += 1;
  const socket = connect({ host: values.host, port: 80 });
  let outcome = 'closed';
  socket.setEncoding('latin1').on('data', (text: string) => {
    outcome = text.slice(9, 12);
  });
  socket.on('error', (error: NodeJS.ErrnoException) => {
    outcome = error.code ?? 'error';
  });
  socket.on('close', () => {
    answers[outcome] = (answers[outcome] ?? 0) + 1;
  });
  socket.end(
    `GET /v1/credentials HTTP/1.1\r\nHost: ${values.host}\r\nAuthorization: ${forge()}\r\nConnection: close\r\n\r\n`,
  );
}

/** Says nothing, and reads what is said to it, since what is not read does not end. */
function hoard(): void {
  const socket = connect({ host: values.host, port: 80 });
  socket.on('error', () => undefined);
  socket.resume();
}

process.stdout.write('ready\n');
const started = performance.now();
const over = () => performance.now() - started > duration;
if (values.burn) {
  while (!over()) forge();
} else if (values.hoard !== '0') {
  for (let count = 0; count < Number(values.hoard); count += 1) {
    hoard();
    if (count % 200 === 199) await pause(20);
  }
  process.stdin.on('end', () => process.exit());
  process.stdin.resume();
} else {
  for (let shot = 0; shot < rate; shot += 1) shoot();
  let due = 0;
  // Open loop: the next ones go out whether or not the last were answered.
  const timer = setInterval(() => {
    const until = Math.floor(((performance.now() - started) * rate) / 1_000);
    for (; due < until; due += 1) shoot();
    if (!over()) return;
    clearInterval(timer);
    setTimeout(() => {
      process.stdout.write(`${JSON.stringify({ sent, answers })}\n`, () => process.exit());
    }, 200);
  }, 5);
}
