import { readFileSync } from 'node:fs';
import { Command, Option } from 'commander';
import type { DurationMs } from '../clock.ts';
import { parseDuration } from '../config/duration.ts';
import { reader } from '../config/flag-reader.ts';
import { clusterName, host, issuer, rate, wholeNumber } from '../config/values.ts';
import { type Simulator, type SimulatorOptions, startSimulator } from '../simulator/simulator.ts';

interface Flags {
  host: string;
  port: number;
  clusterName: string;
  region: string;
  account: string;
  latency: DurationMs;
  quota?: number;
  burst?: number;
  sessionLifetime: DurationMs;
  associationDelay: DurationMs;
  tokenDirectory?: string;
  issuer?: string;
  issuerKeys?: Readonly<Record<string, unknown>>[];
  traceFile?: string;
  seed?: number;
}

/** `simulate`: runs a local EKS until it is told to stop. */
export function simulateCommand(): Command {
  return new Command('simulate')
    .description('run a local EKS: token issuer, associations, EKS Auth and STS on one port')
    .option('--host <address>', 'address to listen on', reader(host), '127.0.0.1')
    .option(
      '-p, --port <port>',
      'port to listen on; 0 for any free one',
      reader(wholeNumber(0, 65_535)),
      8090,
    )
    .option('-c, --cluster-name <name>', "the cluster's name", reader(clusterName), 'simulated')
    .option('--region <region>', "the cluster's region", 'us-east-1')
    .option('--account <id>', "the cluster's account", '111122223333')
    .addOption(durationOption('--latency <duration>', 'how long EKS Auth takes to answer', '0s'))
    .option('--quota <rate>', 'calls to EKS Auth a second; none: no limit', reader(rate))
    .option(
      '--burst <calls>',
      'calls at once within the quota; none: the quota',
      reader(wholeNumber(1, 1e6)),
    )
    .addOption(durationOption('--session-lifetime <duration>', 'of role sessions', '6h'))
    .addOption(
      durationOption('--association-delay <duration>', 'until EKS Auth sees a change', '0s'),
    )
    .option('--token-directory <path>', 'where to write and renew the token files of pods')
    .option('--issuer <url>', 'the issuer of tokens; none: one of its own', reader(issuer))
    .option(
      '--issuer-keys <file>',
      'more public keys of the issuer (JWKS), as of a real API server',
      reader(keySet),
    )
    .option('--trace-file <path>', 'where to write traces that are sent to /v1/traces (OTLP)')
    .option('--seed <number>', 'makes what is random repeat', reader(wholeNumber(0, 2 ** 32)))
    .action(async (flags: Flags, command: Command) => {
      const stopped = signalled('SIGINT', 'SIGTERM');
      let simulator: Simulator;
      try {
        simulator = await startSimulator(optionsOf(flags));
      } catch (error) {
        const { message } = error as Error;
        if (error instanceof TypeError) command.error(`error: ${namingFlag(message)}`);
        process.stderr.write(`error: the simulator cannot start: ${message}\n`);
        process.exitCode = 1;
        return;
      }
      process.stdout.write(introduction(simulator, flags.tokenDirectory));
      await stopped;
      await simulator.close();
    });
}

function optionsOf(flags: Flags): SimulatorOptions {
  const { quota, burst, ...options } = flags;
  if (quota === undefined) {
    if (burst !== undefined) throw new TypeError('burst needs a --quota');
    return options;
  }
  return { ...options, quota: { rate: quota, burst: burst ?? Math.max(1, Math.ceil(quota)) } };
}

/** The keys in a file with a JWKS (RFC 7517). */
function keySet(file: string): Readonly<Record<string, unknown>>[] {
  let document: unknown;
  try {
    document = JSON.parse(readFileSync(file, 'utf8'));
  } catch {
    throw new TypeError('must be a file with JSON');
  }
  const keys = (document as { keys?: unknown } | null)?.keys;
  if (!Array.isArray(keys)) throw new TypeError('must be a file with a JWKS');
  return keys;
}

function introduction(simulator: Simulator, tokenDirectory: string | undefined): string {
  const { account, clusterName, issuer, nodeCredentials, region, url } = simulator;
  const endpoint = `--endpoint-url ${url} --cluster-name ${clusterName}`;
  const sessionToken = nodeCredentials.sessionToken;
  return `Simulated EKS cluster ${clusterName} at ${url}

  EKS, EKS Auth, STS   ${url}
  token issuer         ${issuer}
  control              ${url}/_simulator/
  token files          ${tokenDirectory ?? 'none; see --token-directory'}

The node's credentials, for the AWS CLI and the broker:

  export AWS_ACCESS_KEY_ID=${nodeCredentials.accessKeyId}
  export AWS_SECRET_ACCESS_KEY=${nodeCredentials.secretAccessKey}
${sessionToken === undefined ? '' : `  export AWS_SESSION_TOKEN=${sessionToken}\n`}  export AWS_DEFAULT_REGION=${region} AWS_REGION=${region}

An association, a pod, and a role session for it:

  aws eks create-pod-identity-association ${endpoint} \\
    --namespace default --service-account web --role-arn arn:aws:iam::${account}:role/web
  TOKEN=$(curl -s ${url}/_simulator/pods -d '{"namespace":"default","serviceAccount":"web"}' |
    sed 's/.*"token":"\\([^"]*\\)".*/\\1/')
  aws eks-auth assume-role-for-pod-identity ${endpoint} --token "$TOKEN"
  aws sts get-caller-identity --endpoint-url ${url}

The broker against it, with the node's credentials:

  pod-identity-broker server --cluster-name ${clusterName} --endpoint ${url} \\
    --bind-hosts 127.0.0.1 --port 8080

Stop with Ctrl-C.
`;
}

function durationOption(flags: string, description: string, fallback: string): Option {
  return new Option(flags, description)
    .default(parseDuration(fallback), fallback)
    .argParser(reader(parseDuration));
}

/** Options are called `sessionLifetime` inside and `--session-lifetime` outside. */
function namingFlag(message: string): string {
  return message.replace(
    /^[a-z][A-Za-z]+/,
    (name) => `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`,
  );
}

/** Resolves at the first of these signals. */
function signalled(...signals: NodeJS.Signals[]): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of signals) process.once(signal, () => resolve());
  });
}
