import { isIP } from 'node:net';

/** An IPv4 address mapped into IPv6, as `URL` writes it (RFC 4291, section 2.5.5.2). */
const MAPPED = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/;

/**
 * An IP address in the one form that addresses are compared in: IPv6 as RFC 5952 has it, without
 * a zone, and IPv4 that is mapped into IPv6 as IPv4.
 *
 * @returns Undefined for what is no address.
 */
export function canonicalAddress(text: string): string | undefined {
  const bare = text.split('%', 1)[0] as string;
  const family = isIP(bare);
  if (family === 0) return undefined;
  if (family === 4) return bare;
  const written = (URL.parse(`http://[${bare}]`)?.hostname ?? '').slice(1, -1);
  const mapped = MAPPED.exec(written);
  if (mapped === null) return written === '' ? undefined : written;
  const [high, low] = [mapped[1], mapped[2]].map((part) => Number.parseInt(part as string, 16)) as [
    number,
    number,
  ];
  return [high >> 8, high & 255, low >> 8, low & 255].join('.');
}
