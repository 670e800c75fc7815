import { isRecord } from './service-account-token.ts';

/** Who asks to do what with a role. */
export interface TrustRequest {
  action: string;
  principal: { Service: string } | { AWS: string };
  /**
   * The request's condition keys, such as `aws:RequestTag/kubernetes-namespace`; `undefined`
   * where conditions are not asked after.
   */
  context: Readonly<Record<string, string>> | undefined;
}

/**
 * Whether a trust policy allows a request: some statement allows it and none denies it.
 * Conditions: `StringEquals`, `StringLike`, `ArnEquals`, `ArnLike` and their negations; a
 * statement with any other condition does not apply.
 *
 * @see https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
 */
export function allows(policy: Record<string, unknown>, request: TrustRequest): boolean {
  const statements = list(policy.Statement).filter(isRecord);
  const applying = statements.filter((statement) => applies(statement, request));
  return (
    applying.some((statement) => statement.Effect === 'Allow') &&
    !applying.some((statement) => statement.Effect === 'Deny')
  );
}

function applies(statement: Record<string, unknown>, request: TrustRequest): boolean {
  const actions = list(statement.Action).map(String);
  return (
    actions.some((action) => like(action.toLowerCase(), request.action.toLowerCase())) &&
    names(statement.Principal, request.principal) &&
    (request.context === undefined
      ? statement.Effect === 'Allow' || statement.Condition === undefined
      : holds(statement.Condition, request.context))
  );
}

function names(principal: unknown, asked: TrustRequest['principal']): boolean {
  if (principal === '*') return true;
  if (!isRecord(principal)) return false;
  if ('Service' in asked) return list(principal.Service).includes(asked.Service);
  const account = asked.AWS.split(':')[4] ?? '';
  const root = asked.AWS.replace(/:role\/.*$/, ':root');
  return list(principal.AWS).some((name) => [asked.AWS, account, root, '*'].includes(String(name)));
}

function holds(condition: unknown, context: Readonly<Record<string, string>>): boolean {
  if (condition === undefined) return true;
  if (!isRecord(condition)) return false;
  return Object.entries(condition).every(([operator, keys]) => {
    const match = /^(String|Arn)(Not)?(Equals|Like)(IfExists)?$/.exec(operator);
    if (match === null || !isRecord(keys)) return false;
    const [, type, negated, comparison, ifExists] = match;
    // ArnEquals and ArnLike behave alike, says the reference.
    const compare = type === 'Arn' || comparison === 'Like' ? like : equal;
    return Object.entries(keys).every(([key, patterns]) => {
      const value = lookUp(context, key);
      if (value === undefined) return ifExists !== undefined || negated !== undefined;
      const matches = list(patterns).some((pattern) => compare(String(pattern), value));
      return negated === undefined ? matches : !matches;
    });
  });
}

/** Condition keys are not case-sensitive. */
function lookUp(context: Readonly<Record<string, string>>, key: string): string | undefined {
  const wanted = key.toLowerCase();
  return Object.entries(context).find(([name]) => name.toLowerCase() === wanted)?.[1];
}

function equal(pattern: string, value: string): boolean {
  return pattern === value;
}

/** `*` stands for any characters, `?` for one. */
function like(pattern: string, value: string): boolean {
  const source = pattern.replace(/[.+^${}()|[\]\\]/g, '\\$&').replace(/\*+/g, '.*');
  return new RegExp(`^${source.replaceAll('?', '.')}$`, 's').test(value);
}

function list(value: unknown): unknown[] {
  return value === undefined ? [] : Array.isArray(value) ? value : [value];
}
