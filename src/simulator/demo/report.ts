/** What became of one service account's pods. */
export interface ServiceAccountReport {
  readonly serviceAccount: string;
  /** The role that its association names. */
  readonly expectedRole: string;
  /** The roles that its pods came out as. */
  readonly roles: readonly string[];
  readonly pods: number;
  /** As the broker counts them. */
  readonly requests: number;
  /** As EKS Auth counts them. */
  readonly calls: number;
  /** A line for each pod that came out as nobody or as somebody else. */
  readonly problems: readonly string[];
}

const HEADINGS = [
  'service account',
  'role its pods came out as',
  'pods',
  'requests to the broker',
  'calls to EKS Auth',
];

/** The table, a line a service account. */
export function table(reports: readonly ServiceAccountReport[]): string {
  const rows = reports.map(({ serviceAccount, roles, pods, requests, calls }) =>
    [serviceAccount, roles.join(', ') || 'none', pods, requests, calls].map(String),
  );
  const widths = HEADINGS.map((heading, column) =>
    Math.max(heading.length, ...rows.map((row) => row[column]?.length ?? 0)),
  );
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, column) => {
        const width = widths[column] as number;
        return column < 2 ? cell.padEnd(width) : cell.padStart(width);
      })
      .join('  ')
      .trimEnd();
  return [HEADINGS, ...rows].map(line).join('\n');
}

/** The whole in one line: `50 pods, 100 credential requests, 5 calls to EKS Auth (20x fewer)`. */
export function summary(reports: readonly ServiceAccountReport[]): string {
  const sum = (count: (report: ServiceAccountReport) => number) =>
    reports.reduce((total, report) => total + count(report), 0);
  const pods = sum((report) => report.pods);
  const requests = sum((report) => report.requests);
  const calls = sum((report) => report.calls);
  const fewer = calls > 0 ? ` (${Number((requests / calls).toFixed(1))}x fewer)` : '';
  return `${some(pods, 'pod')}, ${some(requests, 'credential request')}, ${some(calls, 'call')} to EKS Auth${fewer}`;
}

function some(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

/** Why the demo did not come out as it should; undefined where it did. */
export function failure(reports: readonly ServiceAccountReport[]): string | undefined {
  const problems = reports.flatMap((report) => report.problems);
  if (problems.length === 0) return undefined;
  const all = reports.reduce((total, report) => total + report.pods, 0);
  const shown = problems.slice(0, 10).map((problem) => `  ${problem}`);
  if (problems.length > shown.length) shown.push(`  and ${problems.length - shown.length} more`);
  return `${problems.length} of ${some(all, 'pod')} did not come out as the role of their service account:\n${shown.join('\n')}`;
}

/** What a shell may hold that an SDK would take before a pod's own credentials. */
const OWN_CREDENTIALS = [
  'AWS_ACCESS_KEY_ID',
  'AWS_SECRET_ACCESS_KEY',
  'AWS_SESSION_TOKEN',
  'AWS_PROFILE',
  'AWS_DEFAULT_PROFILE',
  'AWS_ROLE_ARN',
  'AWS_WEB_IDENTITY_TOKEN_FILE',
  'AWS_CONTAINER_CREDENTIALS_RELATIVE_URI',
  'AWS_ENDPOINT_URL',
];

/**
 * Lines for a shell that make it a pod, and one that asks who it is.
 *
 * @param environment - The pod's.
 * @param prefix - What runs a command where the pod runs.
 */
export function pasteable(environment: Readonly<Record<string, string>>, prefix: string): string {
  const { HOME: _home, ...given } = environment;
  // A pod has no such files; those of whoever pastes this would win over its credentials.
  const files = { AWS_CONFIG_FILE: '/dev/null', AWS_SHARED_CREDENTIALS_FILE: '/dev/null' };
  return [
    `unset ${OWN_CREDENTIALS.join(' ')}`,
    ...Object.entries({ ...given, ...files }).map(
      ([name, value]) => `export ${name}=${quote(value)}`,
    ),
    `${prefix}aws sts get-caller-identity`,
  ].join('\n');
}

function quote(value: string): string {
  return /^[\w./:=-]+$/.test(value) ? value : `'${value.replaceAll("'", "'\\''")}'`;
}
