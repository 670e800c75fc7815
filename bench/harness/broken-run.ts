/** The target answered wrongly, or failed where it should not: there are no figures to show. */
export class BrokenRunError extends Error {
  override readonly name = 'BrokenRunError';
}
