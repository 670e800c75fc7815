import type { Findings } from './findings.ts';

/** Errors that the troubles bring about, as they should. */
const EXPECTED: readonly RegExp[] = [
  /; not served$/,
  /^EKS Auth denies every session/,
  /^this node's AWS credentials do not serve to call EKS Auth/,
];

/** How every token begins. */
const TOKEN = /eyJ[\w-]{10}/;

/** Looks through what the broker has written: no token, and no error that is not expected. */
export function checkLog(output: string, findings: Findings): void {
  for (const line of output.split('\n')) {
    if (TOKEN.test(line)) findings.add('the log holds a part of a token');
    if (!/^\{"level":"(?:error|fatal)"/.test(line)) {
      if (line !== '' && !line.startsWith('{')) findings.add('output that is no log', { line });
      continue;
    }
    const { msg } = JSON.parse(line) as { msg: string };
    if (!EXPECTED.some((message) => message.test(msg))) {
      findings.add('error in the log', { line: line.slice(0, 1_000) });
    }
  }
}
