import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import t from 'tap';
import { addServerOptions } from '../../src/config/server-options.ts';

const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
const table = readme.slice(
  readme.indexOf('## Flags of `server`'),
  readme.indexOf('## What pods are answered'),
);

t.test('the README has the flags that there are', async (t) => {
  const flags = addServerOptions(new Command()).options.map(({ long }) => long as string);
  const written = [...table.matchAll(/^\| (.*?) \|/gm)].flatMap((row) => [
    ...(row[1] as string).matchAll(/`(--[a-z-]+)`/g),
  ]);
  t.same(written.map((match) => match[1]).toSorted(), flags.toSorted());
});

t.test('the npm scripts that it names exist', async (t) => {
  const { scripts } = JSON.parse(
    readFileSync(new URL('../../package.json', import.meta.url), 'utf8'),
  );
  for (const [, script] of readme.matchAll(/npm run ([a-z]+)/g))
    t.ok(scripts[script as string], `npm run ${script}`);
});
