// Reading what the API server sends piece by piece: a list of pods can be tens of megabytes, of
// which a few kilobytes are wanted, and a watch never ends.

/** More than a pod can come to: etcd takes objects of 1.5 MiB, which are larger as JSON. */
export const MAX_OBJECT_BYTES = 4 * 1024 * 1024;
/** What a list says besides its items. */
const MAX_REST_BYTES = 64 * 1024;

/** What was sent cannot be what was asked for; quotes nothing of it. */
export class StreamError extends Error {
  override readonly name = 'StreamError';
  readonly code = 'ERR_JSON_STREAM';
}

/** Cuts a stream into lines, none longer than `maxBytes` bytes. */
export class Lines {
  readonly #maxBytes: number;
  #parts: Buffer[] = [];
  #size = 0;

  constructor(maxBytes: number = MAX_OBJECT_BYTES) {
    this.#maxBytes = maxBytes;
  }

  /**
   * Takes the next piece.
   *
   * @returns The lines that it completes, without line ends and empty ones.
   * @throws StreamError where a line is too long.
   */
  push(chunk: Buffer): string[] {
    const lines: string[] = [];
    let from = 0;
    for (;;) {
      const end = chunk.indexOf(NEWLINE, from);
      if (end === -1) break;
      this.#keep(chunk.subarray(from, end));
      const line = Buffer.concat(this.#parts, this.#size).toString('utf8');
      if (line.trim() !== '') lines.push(line);
      this.#parts = [];
      this.#size = 0;
      from = end + 1;
    }
    if (from < chunk.length) this.#keep(chunk.subarray(from));
    return lines;
  }

  #keep(part: Buffer): void {
    this.#size += part.length;
    if (this.#size > this.#maxBytes)
      throw new StreamError(`a line is longer than ${this.#maxBytes} bytes`);
    this.#parts.push(part);
  }
}

/**
 * Takes the objects out of the `items` of a list as they come in, so that no more than one of
 * them is held as text, and what is left of the document at the end.
 *
 * Of an object the first two levels are kept: what a pod is made of is below them, and is most of
 * what is sent. Lists and objects of the third level are left out (as `null`), but for those that
 * are named.
 */
export class ListItems {
  readonly #onItem: (text: string | undefined) => void;
  readonly #maxBytes: number;
  readonly #kept: readonly Buffer[];
  #depth = 0;
  /** Within something that is left out. */
  #leavingOut = false;
  #inString = false;
  #escaped = false;
  #inItems = false;
  /** The string that ended last, or begins: where a key is looked at, that of what follows. */
  #string: number[] = [];
  #item: Buffer[] | undefined;
  #itemSize = 0;
  #rest: Buffer[] = [];
  #restSize = 0;

  /**
   * @param onItem - Called with the text of each object; undefined for one that is too large.
   * @param kept - Keys of the third level whose lists and objects are kept.
   * @param maxBytes - Bytes of an object at most, without what is left out.
   */
  constructor(
    onItem: (text: string | undefined) => void,
    kept: readonly string[],
    maxBytes: number = MAX_OBJECT_BYTES,
  ) {
    this.#onItem = onItem;
    this.#kept = kept.map((key) => Buffer.from(key));
    this.#maxBytes = maxBytes;
  }

  /**
   * Takes the next piece.
   *
   * @throws StreamError where what surrounds the items is too large.
   */
  push(chunk: Buffer): void {
    let from = 0;
    for (let at = 0; at < chunk.length; at += 1) {
      const byte = chunk[at] as number;
      if (this.#inString) {
        this.#inside(byte);
        continue;
      }
      switch (byte) {
        case QUOTE:
          this.#inString = true;
          if (this.#keysMatter) this.#string = [];
          break;
        case OPEN_OBJECT:
        case OPEN_ARRAY:
          if (this.#inItems && this.#depth === 2 && byte === OPEN_OBJECT) {
            this.#item = [];
            this.#itemSize = 0;
            from = at;
          }
          if (this.#item !== undefined && this.#depth === MEMBERS && !this.#isKept()) {
            this.#keepItem(chunk.subarray(from, at));
            this.#keepItem(NULL);
            this.#leavingOut = true;
          }
          this.#depth += 1;
          if (byte === OPEN_ARRAY && this.#depth === 2 && this.#keyIs(ITEMS)) {
            this.#inItems = true;
            this.#keepRest(chunk.subarray(from, at + 1));
          }
          break;
        case CLOSE_OBJECT:
        case CLOSE_ARRAY:
          this.#depth -= 1;
          if (this.#leavingOut && this.#depth === MEMBERS) {
            this.#leavingOut = false;
            from = at + 1;
          }
          if (this.#item !== undefined && this.#depth === 2) {
            this.#keepItem(chunk.subarray(from, at + 1));
            this.#endItem();
          } else if (this.#inItems && this.#depth === 1) {
            this.#inItems = false;
            from = at;
          }
          break;
      }
    }
    if (this.#leavingOut) return;
    if (this.#item !== undefined) this.#keepItem(chunk.subarray(from));
    else if (!this.#inItems) this.#keepRest(chunk.subarray(from));
  }

  /**
   * The document without its items, once all of it was taken.
   *
   * @throws StreamError where it is no JSON, or was cut.
   */
  end(): unknown {
    try {
      return JSON.parse(Buffer.concat(this.#rest, this.#restSize).toString('utf8'));
    } catch {
      throw new StreamError('the list is not JSON');
    }
  }

  #inside(byte: number): void {
    if (this.#escaped) this.#escaped = false;
    else if (byte === BACKSLASH) this.#escaped = true;
    else if (byte === QUOTE) this.#inString = false;
    else if (this.#keysMatter && this.#string.length < MAX_KEY_LENGTH) this.#string.push(byte);
  }

  get #keysMatter(): boolean {
    return this.#depth === 1 || (this.#depth === MEMBERS && this.#item !== undefined);
  }

  #isKept(): boolean {
    return this.#kept.some((key) => this.#keyIs(key));
  }

  #keyIs(key: Buffer): boolean {
    return this.#string.length === key.length && key.equals(Uint8Array.from(this.#string));
  }

  #keepItem(part: Buffer): void {
    this.#itemSize += part.length;
    if (this.#itemSize <= this.#maxBytes) this.#item?.push(part);
    else this.#item = [];
  }

  #endItem(): void {
    const parts = this.#item as Buffer[];
    this.#item = undefined;
    const whole = this.#itemSize <= this.#maxBytes;
    this.#onItem(whole ? Buffer.concat(parts, this.#itemSize).toString('utf8') : undefined);
  }

  #keepRest(part: Buffer): void {
    this.#restSize += part.length;
    if (this.#restSize > MAX_REST_BYTES) {
      throw new StreamError(`more than ${MAX_REST_BYTES} bytes besides the items of a list`);
    }
    this.#rest.push(part);
  }
}

const ITEMS = Buffer.from('items');
const NULL = Buffer.from('null');
/** Keys that are longer are none that are looked for. */
const MAX_KEY_LENGTH = 32;
/** How deep in a list the members of an object's members are: `metadata.labels` of an item. */
const MEMBERS = 4;
const NEWLINE = 0x0a;
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const OPEN_ARRAY = 0x5b;
const CLOSE_ARRAY = 0x5d;
