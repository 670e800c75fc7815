/** So many characters in a row are no accident. */
const TELLING = 20;

/**
 * What of some secrets is to be found in some output: the first few pieces of `TELLING`
 * characters of any of them.
 */
export function leaks(output: string, secrets: readonly string[]): string[] {
  const pieces = new Set<string>();
  for (const secret of secrets) {
    for (let at = 0; at + TELLING <= secret.length; at += 1) {
      pieces.add(secret.slice(at, at + TELLING));
    }
  }
  const found: string[] = [];
  for (const [run] of output.matchAll(/[\w+/=-]{20,}/g)) {
    for (let at = 0; at + TELLING <= run.length && found.length < 5; at += 1) {
      const piece = run.slice(at, at + TELLING);
      if (pieces.has(piece)) found.push(piece);
    }
  }
  return found;
}
