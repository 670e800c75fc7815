/** Who answers, and to whom. */
export interface Earning {
  /** Values of Host that are the broker's own, without a port. */
  readonly hosts: readonly string[];
  /** Tokens that are good. */
  readonly tokens: ReadonlySet<string>;
}

/** Beginnings of what the broker may answer with credentials; a version earns nothing. */
const REQUEST_LINE = /GET \/v1\/credentials(?:\?[^\s]*)? HTTP\/\d\.\d\r?\n/g;

/**
 * How many answers with credentials some bytes can have earned: how many requests are in
 * them, anywhere, that are for the one path, carry a good token and have the broker's own
 * Host. It reads more generously than any server, so that it never denies what was earned.
 */
export function earned(bytes: Uint8Array, { hosts, tokens }: Earning): number {
  const text = Buffer.from(bytes).toString('latin1');
  let count = 0;
  for (const match of text.matchAll(REQUEST_LINE)) {
    const [head = ''] = text.slice(match.index + match[0].length).split(/\r?\n\r?\n/);
    const fields = head.replaceAll(/\r?\n[ \t]+/g, ' ').split(/\r?\n/);
    const values = (name: string) =>
      fields
        .filter((field) => field.toLowerCase().startsWith(`${name}:`))
        .map((field) => field.slice(name.length + 1).replaceAll(/^[ \t]+|[ \t]+$/g, ''));
    const host = values('host').some((value) => hosts.includes(value.replace(/:\d+$/, '')));
    if (host && values('authorization').some((value) => tokens.has(value))) count += 1;
  }
  return count;
}
