/** Bytes that are not what RESP has in their place, or are more than anybody has asked for. */
export class RespError extends Error {
  override readonly name = 'RespError';
  readonly code = 'ERR_REDIS_PROTOCOL';
}

/** What the outermost value of some bytes looks like. */
export interface Outline {
  /** `+`, `-`, `:`, `$` or `*`. */
  readonly type: string;
  readonly isNull: boolean;
  /** Elements; 0 where it is no array. */
  readonly length: number;
  /** How many of its first elements are texts, one after the other. */
  readonly texts: number;
  /** What it begins with: its own text or number, or that of its first element; in part. */
  readonly head: string;
  /** Whether anything in it is null. */
  readonly holdsNull: boolean;
  /** The greatest number in it, or 0. */
  readonly greatest: number;
}

/** What is read at most of one value. */
export interface RespBounds {
  readonly bytes: number;
  /** Elements of arrays, those in arrays included. */
  readonly elements: number;
}

const CR = 0x0d;
const LF = 0x0a;
const MAX_LINE = 8_192;
const MAX_DEPTH = 4;
/** Longer than a redirection to the longest host name. */
const HEAD = 320;
const LENGTH = /^(?:-1|\d{1,10})$/;
const NUMBER = /^[+-]?\d{1,19}$/;

/**
 * Follows the bytes of a connection to Redis, and tells what they are in outline: RESP as of
 * protocol 2, which is what ioredis is told to speak. Nothing is kept of them but the line that
 * is being read.
 *
 * It is stricter than the decoder that reads the same bytes after it: what passes here means the
 * same to both.
 */
export class RespOutlines {
  readonly #onValue: (outline: Outline) => RespBounds;
  #bounds: RespBounds;
  #bytes = 0;
  #elements = 0;
  #line = '';
  /** Bytes of a text, with its CRLF, that are still to come. */
  #toCome = 0;
  #headOfText = '';
  /** Elements that are missing of each array that is open. */
  readonly #missing: number[] = [];
  #outline: { -readonly [K in keyof Outline]: Outline[K] } | undefined;

  /**
   * @param bounds - Of the first value.
   * @param onValue - Called with each value once it is complete; says how large the next may be.
   */
  constructor(bounds: RespBounds, onValue: (outline: Outline) => RespBounds) {
    this.#bounds = bounds;
    this.#onValue = onValue;
  }

  /** Sets how large the value may be that is being read. */
  bound(bounds: RespBounds): void {
    this.#bounds = bounds;
  }

  /** @throws RespError, or what `onValue` throws. */
  read(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.length) at = this.#toCome > 0 ? this.#text(chunk, at) : this.#next(chunk, at);
  }

  /** Part of a line that says what comes. */
  #next(chunk: Uint8Array, from: number): number {
    const end = chunk.indexOf(this.#line.endsWith('\r') ? LF : CR, from);
    const to = end === -1 ? chunk.length : end + 1;
    this.#count(to - from);
    this.#line += Buffer.from(chunk.buffer, chunk.byteOffset + from, to - from).toString('latin1');
    if (this.#line.length > MAX_LINE) throw new RespError('a line without an end');
    const cr = this.#line.indexOf('\r');
    if (cr !== -1 && cr < this.#line.length - 1) {
      if (cr !== this.#line.length - 2 || !this.#line.endsWith('\n')) {
        throw new RespError('a line that does not end as lines do');
      }
      const line = this.#line.slice(0, cr);
      this.#line = '';
      this.#begin(line.slice(0, 1), line.slice(1));
    }
    return to;
  }

  #begin(type: string, rest: string): void {
    switch (type) {
      case '+':
      case '-':
        this.#value(type, rest.slice(0, HEAD), false);
        return;
      case ':':
        if (!NUMBER.test(rest)) break;
        this.#value(type, rest, false);
        return;
      case '$': {
        if (!LENGTH.test(rest)) break;
        const length = Number(rest);
        if (length < 0) {
          this.#value(type, '', true);
          return;
        }
        if (this.#bytes + length > this.#bounds.bytes) throw new RespError('too long a text');
        this.#toCome = length + 2;
        return;
      }
      case '*': {
        if (!LENGTH.test(rest)) break;
        this.#array(Number(rest));
        return;
      }
    }
    throw new RespError('a type that was not asked for');
  }

  #text(chunk: Uint8Array, from: number): number {
    const to = Math.min(chunk.length, from + this.#toCome);
    this.#count(to - from);
    for (
      let at = from;
      at < to && this.#toCome - (at - from) > 2 && this.#headOfText.length < HEAD;
      at += 1
    ) {
      this.#headOfText += String.fromCharCode(chunk[at] as number);
    }
    // The decoder takes the last two bytes for granted.
    for (let last = 2; last >= 1; last -= 1) {
      const at = from + this.#toCome - last;
      if (at >= from && at < to && chunk[at] !== (last === 2 ? CR : LF)) {
        throw new RespError('a text that is longer than it says');
      }
    }
    this.#toCome -= to - from;
    if (this.#toCome === 0) {
      const head = this.#headOfText;
      this.#headOfText = '';
      this.#value('$', head, false);
    }
    return to;
  }

  #array(length: number): void {
    if (length < 0) {
      this.#value('*', '', true);
      return;
    }
    this.#elements += length;
    if (this.#elements > this.#bounds.elements) throw new RespError('too many elements');
    if (length === 0) {
      this.#value('*', '', false);
      return;
    }
    if (this.#missing.length >= MAX_DEPTH) throw new RespError('arrays in arrays in arrays');
    this.#outline ??= outline('*', length);
    this.#missing.push(length);
  }

  /** A value is complete; with it, perhaps, the arrays that it is the last of. */
  #value(type: string, head: string, isNull: boolean): void {
    if (this.#outline === undefined) this.#outline = { ...outline(type, 0), head, isNull };
    else if (this.#missing.length === 1) {
      const index = this.#outline.length - (this.#missing[0] as number);
      const isText = (type === '$' || type === '+') && !isNull;
      if (isText && this.#outline.texts === index) this.#outline.texts += 1;
      if (index === 0) this.#outline.head = head;
    }
    if (isNull) this.#outline.holdsNull = true;
    if (type === ':') this.#outline.greatest = Math.max(this.#outline.greatest, Number(head));
    for (;;) {
      const missing = this.#missing.pop();
      if (missing === undefined) break;
      if (missing > 1) {
        this.#missing.push(missing - 1);
        return;
      }
    }
    const complete = this.#outline;
    this.#outline = undefined;
    this.#bytes = 0;
    this.#elements = 0;
    this.#bounds = this.#onValue(complete);
  }

  #count(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes > this.#bounds.bytes) throw new RespError('more than was asked for');
  }
}

function outline(type: string, length: number): Outline {
  return { type, length, isNull: false, texts: 0, head: '', holdsNull: false, greatest: 0 };
}
