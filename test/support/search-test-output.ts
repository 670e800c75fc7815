import { createReadStream, existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { TEST_OUTPUT_VARIABLE } from '../../src/simulator/test-output.ts';
import { SecretSearch } from './secret-search.ts';

// Searches all that brokers logged, traced and exposed while the tests ran for every token and
// secret that was issued meanwhile. Runs behind `npm test` where the variable names a directory, and
// as the last step of CI; prints TAP. It fails, too, where logs, metrics, traces or secrets are
// missing, as they are when only some of the tests have run.

/** What has to be there, by the ends of files' names. */
const KINDS: Readonly<Record<string, string>> = {
  stdout: 'logs',
  metrics: 'metrics',
  jsonl: 'traces',
};

/** As many findings are told. */
const MOST_TOLD = 20;

const directory = process.env[TEST_OUTPUT_VARIABLE];
if (directory) process.exitCode = (await searchAll(directory)) ? 0 : 1;

/** @returns Whether there was something to search, something to find, and nothing was found. */
async function searchAll(folder: string): Promise<boolean> {
  const startedAt = performance.now();
  const search = new SecretSearch();
  const secrets = await learn(search, join(folder, 'secrets'));
  let bytes = 0;
  let found = 0;
  const kinds = new Set<string>();
  for (const file of filesOf(join(folder, 'output'))) {
    const text = search.begin();
    for await (const chunk of createReadStream(file)) {
      bytes += (chunk as Buffer).length;
      text.write(chunk as Buffer);
      if (text.findings.length > MOST_TOLD) break;
    }
    kinds.add(file.slice(file.lastIndexOf('.') + 1));
    for (const { form, before } of text.findings) {
      found += 1;
      if (found <= MOST_TOLD) process.stdout.write(`# ${file}: as ${form}, behind: ${before}\n`);
    }
  }
  const seconds = ((performance.now() - startedAt) / 1_000).toFixed(1);
  // Nothing could be found in nothing.
  const results: readonly [boolean, string][] = [
    [search.size > 0, `the tests issued secrets: ${secrets}`],
    [bytes > 0, `brokers wrote output: ${bytes} bytes`],
    ...Object.entries(KINDS).map(([kind, name]): [boolean, string] => [
      kinds.has(kind),
      `${name} are among it`,
    ]),
    [found === 0, `no secret is in it (${found} found, ${seconds} s)`],
  ];
  process.stdout.write('TAP version 14\n');
  for (const [index, [ok, what]] of results.entries()) {
    process.stdout.write(`${ok ? 'ok' : 'not ok'} ${index + 1} - whole suite: ${what}\n`);
  }
  process.stdout.write(`1..${results.length}\n`);
  return results.every(([ok]) => ok);
}

async function learn(search: SecretSearch, folder: string): Promise<number> {
  let secrets = 0;
  for (const file of filesOf(folder)) {
    for await (const line of createInterface({ input: createReadStream(file) })) {
      search.add(line);
      secrets += 1;
    }
  }
  return secrets;
}

function filesOf(folder: string): string[] {
  return existsSync(folder) ? readdirSync(folder).map((name) => join(folder, name)) : [];
}
