/** Reads an unknown value as `T`, or throws a `TypeError` that names the field. */
export type Reader<T> = (value: unknown, name: string) => T;

type Fields<Shape extends Record<string, Reader<unknown>>> = {
  [Key in keyof Shape]: ReturnType<Shape[Key]>;
};

/** A string; `pattern` and `max` (characters, 8192) narrow it. */
export function text(limits: { pattern?: RegExp; max?: number } = {}): Reader<string> {
  const { pattern, max = 8_192 } = limits;
  return (value, name) => {
    if (typeof value !== 'string') throw new TypeError(`${name} must be a string`);
    if (value.length > max) throw new TypeError(`${name} must have at most ${max} characters`);
    if (pattern !== undefined && !pattern.test(value)) {
      throw new TypeError(`${name} must match ${pattern.source}`);
    }
    return value;
  };
}

/** A finite number; `min`, `max` and `integer` narrow it. */
export function number(
  limits: { min?: number; max?: number; integer?: boolean } = {},
): Reader<number> {
  const { min = -Infinity, max = Infinity, integer = false } = limits;
  return (value, name) => {
    if (typeof value !== 'number' || !Number.isFinite(value)) {
      throw new TypeError(`${name} must be a number`);
    }
    if (integer && !Number.isInteger(value)) throw new TypeError(`${name} must be a whole number`);
    if (value < min) throw new TypeError(`${name} must be at least ${min}`);
    if (value > max) throw new TypeError(`${name} must be at most ${max}`);
    return value;
  };
}

/** `true` or `false`. */
export const flag: Reader<boolean> = (value, name) => {
  if (typeof value !== 'boolean') throw new TypeError(`${name} must be true or false`);
  return value;
};

/** One of the words given. */
export function oneOf<const Words extends readonly string[]>(words: Words): Reader<Words[number]> {
  return (value, name) => {
    if (typeof value !== 'string' || !words.includes(value)) {
      throw new TypeError(`${name} must be one of ${words.join(', ')}`);
    }
    return value;
  };
}

/** A JSON object with any fields. */
export const record: Reader<Record<string, unknown>> = (value, name) => {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new TypeError(`${name} must be an object`);
  }
  return value as Record<string, unknown>;
};

/** A JSON object whose values are strings. */
export const textRecord: Reader<Record<string, string>> = (value, name) => {
  for (const [key, entry] of Object.entries(record(value, name))) {
    if (typeof entry !== 'string') throw new TypeError(`${name}.${key} must be a string`);
  }
  return value as Record<string, string>;
};

/** Absent, or what `reader` reads. */
export function optional<T>(reader: Reader<T>): Reader<T | undefined> {
  return (value, name) => (value === undefined ? undefined : reader(value, name));
}

/** `null`, or what `reader` reads. */
export function nullable<T>(reader: Reader<T>): Reader<T | null> {
  return (value, name) => (value === null ? null : reader(value, name));
}

/** Whichever of two readers accepts the value; the second one's complaint is shown. */
export function either<A, B>(first: Reader<A>, second: Reader<B>): Reader<A | B> {
  return (value, name) => {
    try {
      return first(value, name);
    } catch {
      return second(value, name);
    }
  };
}

/** A list of what `reader` reads. */
export function listOf<T>(reader: Reader<T>): Reader<T[]> {
  return (value, name) => {
    if (!Array.isArray(value)) throw new TypeError(`${name} must be a list`);
    return value.map((entry, index) => reader(entry, `${name}[${index}]`));
  };
}

/** A JSON object with these fields and no others. */
export function object<Shape extends Record<string, Reader<unknown>>>(
  shape: Shape,
): Reader<Fields<Shape>> {
  return (value, name) => {
    const fields = record(value, name);
    const prefix = name === '' ? '' : `${name}.`;
    for (const key of Object.keys(fields)) {
      if (!Object.hasOwn(shape, key)) {
        throw new TypeError(
          `${prefix}${key} is not known; known: ${Object.keys(shape).join(', ')}`,
        );
      }
    }
    const read: Record<string, unknown> = {};
    for (const [key, reader] of Object.entries(shape)) {
      const field = reader(fields[key], `${prefix}${key}`);
      if (field !== undefined) read[key] = field;
    }
    return read as Fields<Shape>;
  };
}

/** The name of a namespace or a pod's label: RFC 1123 label, at most 63 characters. */
export const namespaceName = text({ pattern: /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/, max: 63 });
/** The name of a pod, service account or node: RFC 1123 subdomain, at most 253 characters. */
export const objectName = text({
  pattern: /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/,
  max: 253,
});
