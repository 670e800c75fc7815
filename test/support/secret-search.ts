/** How much of a secret makes it one. */
const PIECE = 32;
/** How much of a piece in one of its forms is looked for; none is shorter. */
const WINDOW = 32;
/** A piece of fewer characters is no secret, but padding or a test's own made-up text. */
const LEAST_CHARACTERS = 10;

/** Bits of the first, rough look at a window: 8 MiB. */
const FILTER_BITS = 26;
/** Multiplier of the rolling hash, odd; and what the character that leaves was multiplied by. */
const FACTOR = 0x01000193;
const LEAVING = power(FACTOR, WINDOW - 1);

/** Where a secret was found. */
export interface Finding {
  /** What it was written as: `plain`, `base64`, `hex` or `bytes`. */
  readonly form: string;
  /** What stands right before it, without white space. */
  readonly before: string;
}

/**
 * Looks for many secrets in much text, in one pass over it (Rabin and Karp's search): a secret is
 * found as it is, percent-encoded, in base64, in hex and as a list of byte values, whole or in
 * part, and across line breaks.
 */
export class SecretSearch {
  readonly #windows = new Map<string, string>();
  readonly #filter = new Uint8Array(2 ** (FILTER_BITS - 3));

  /** Adds a secret; one that is shorter than 32 characters is not looked for. */
  add(secret: string): void {
    for (const piece of pieces(secret)) {
      for (const [form, text] of forms(piece)) {
        const window = text.slice(0, WINDOW);
        this.#windows.set(window, form);
        const bit = slot(hashOf(window));
        this.#filter[bit >>> 3] = (this.#filter[bit >>> 3] ?? 0) | (1 << (bit & 7));
      }
    }
  }

  /** How many windows are looked for. */
  get size(): number {
    return this.#windows.size;
  }

  /** Begins the search of one text, which may come in parts. */
  begin(): TextSearch {
    return new TextSearch(this.#windows, this.#filter);
  }

  /** Searches a text. */
  in(text: string): Finding[] {
    const search = this.begin();
    search.write(Buffer.from(text, 'utf8'));
    return search.findings;
  }
}

/** The search of one text. */
class TextSearch {
  readonly findings: Finding[] = [];
  readonly #windows: ReadonlyMap<string, string>;
  readonly #filter: Uint8Array;
  /** What was read without white space; the last window of it is kept for the next part. */
  #dense = Buffer.alloc(0);
  #escaped = false;

  constructor(windows: ReadonlyMap<string, string>, filter: Uint8Array) {
    this.#windows = windows;
    this.#filter = filter;
  }

  /** Reads on. */
  write(chunk: Uint8Array): void {
    const kept = this.#dense.subarray(Math.max(0, this.#dense.length - WINDOW + 1));
    const dense = Buffer.allocUnsafe(kept.length + chunk.length);
    kept.copy(dense);
    this.#dense = dense.subarray(0, this.#condense(chunk, dense, kept.length));
    this.#look();
  }

  /** Leaves out white space, also where it is written as an escape (`\n`), and backslashes. */
  #condense(chunk: Uint8Array, into: Buffer, start: number): number {
    let length = start;
    for (const byte of chunk) {
      const escaped = this.#escaped;
      this.#escaped = byte === 0x5c;
      if (byte === 0x5c || byte <= 0x20) continue;
      if (escaped && (byte === 0x6e || byte === 0x72 || byte === 0x74)) continue;
      into[length] = byte;
      length += 1;
    }
    return length;
  }

  #look(): void {
    const dense = this.#dense;
    if (dense.length < WINDOW) return;
    let hash = 0;
    for (let at = 0; at < WINDOW - 1; at += 1) hash = extend(hash, dense[at] as number);
    for (let end = WINDOW - 1; end < dense.length; end += 1) {
      hash = extend(hash, dense[end] as number);
      const bit = slot(hash);
      const start = end - WINDOW + 1;
      if (((this.#filter[bit >>> 3] as number) & (1 << (bit & 7))) !== 0) this.#compare(start);
      hash = (hash - Math.imul(dense[start] as number, LEAVING)) | 0;
    }
  }

  #compare(start: number): void {
    const form = this.#windows.get(this.#dense.toString('latin1', start, start + WINDOW));
    if (form === undefined) return;
    const before = this.#dense.toString('latin1', Math.max(0, start - 80), start);
    this.findings.push({ form, before });
  }
}

/** A secret's middle and end, or its beginning and end where it is short. */
function pieces(secret: string): string[] {
  if (secret.length < PIECE) return [];
  const first = secret.length <= PIECE * 2 ? 0 : Math.floor((secret.length - PIECE) / 2);
  return [secret.slice(first, first + PIECE), secret.slice(-PIECE)].filter(
    (piece) => new Set(piece).size >= LEAST_CHARACTERS,
  );
}

/** The ways in which text gets into output by mistake. */
function forms(text: string): [form: string, text: string][] {
  const bytes = Buffer.from(text);
  // Base64 depends on where the text begins within three bytes; its edges on what is around.
  const encoded = [0, 1, 2].map((shift) =>
    Buffer.concat([Buffer.alloc(shift), bytes])
      .toString('base64')
      .slice(4, -4),
  );
  return [
    ['plain', text],
    ['plain', encodeURIComponent(text)],
    ...encoded.map((one): [string, string] => ['base64', one]),
    ...encoded.map((one): [string, string] => [
      'base64',
      one.replaceAll('+', '-').replaceAll('/', '_'),
    ]),
    ['hex', bytes.toString('hex')],
    ['hex', bytes.toString('hex').toUpperCase()],
    ['bytes', [...bytes].join(',')],
  ];
}

function hashOf(window: string): number {
  let hash = 0;
  for (const byte of Buffer.from(window, 'latin1')) hash = extend(hash, byte);
  return hash;
}

function extend(hash: number, byte: number): number {
  return (Math.imul(hash, FACTOR) + byte) | 0;
}

/** Its upper bits, to which every character has contributed. */
function slot(hash: number): number {
  return Math.imul(hash, 0x9e3779b1) >>> (32 - FILTER_BITS);
}

function power(base: number, exponent: number): number {
  let result = 1;
  for (let step = 0; step < exponent; step += 1) result = Math.imul(result, base);
  return result;
}
