import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';

const SRC = fileURLToPath(new URL('../src', import.meta.url));

/** Every class of errors in the sources, with what its body says. */
const classes = readdirSync(SRC, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts'))
  .flatMap((file) => {
    const text = readFileSync(join(SRC, file), 'utf8');
    return [...text.matchAll(/class (\w+) extends (?:Type|Range)?Error \{\n(.*?)^\}/gms)];
  })
  .map(([, name = '', body = '']) => ({ name, body }));

t.test('errors go by a code, which stays the same when their words change', async (t) => {
  t.ok(classes.length > 20, `${classes.length} classes`);
  const codes = new Map<string, string>();
  for (const { name, body } of classes) {
    // One that carries what a service answered has that service's code; one has a status alone.
    const [, code] = /readonly code = '(ERR_[A-Z0-9_]+)';/.exec(body) ?? [];
    if (code === undefined) {
      t.match(body, /readonly (?:code|status): /, name);
      continue;
    }
    t.equal(codes.get(code), undefined, `${code} is ${name} alone`);
    codes.set(code, name);
  }
});
