// Bundles the program into `dist/`, or the folder that is named: a process that reads a few files
// instead of hundreds starts sooner, and holds less. Names stay as they are, so that stacks in the
// log can be read.
import { rmSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const outdir = process.argv[2] ?? join(root, 'dist');

// An import of a module of Node's reads all that the module exports, and many an export is a getter
// that loads something: `WebSocket` of `node:http` the fetch client that Node has built in,
// `webcrypto` of `node:crypto`, `stdin` of `node:process`: tens of milliseconds and several MiB on
// every thread. Here only those are read that somebody imports by name.
const builtins = {
  name: 'builtins',
  setup({ onResolve, onLoad }) {
    const namespaces = { 'import-statement': 'builtin', 'dynamic-import': 'whole-builtin' };
    onResolve({ filter: /.*/ }, ({ path, kind }) =>
      isBuiltin(path) && namespaces[kind] !== undefined
        ? { path: path.replace(/^node:/, ''), namespace: namespaces[kind], sideEffects: false }
        : undefined,
    );
    onLoad({ filter: /.*/, namespace: 'whole-builtin' }, ({ path }) => ({
      contents: `module.exports = process.getBuiltinModule('node:${path}');`,
    }));
    onLoad({ filter: /.*/, namespace: 'builtin' }, ({ path }) => {
      const names = Object.keys(process.getBuiltinModule(path)).filter((name) =>
        /^(?!default$)[A-Za-z]\w*$/.test(name),
      );
      return {
        contents: [
          `const builtin = process.getBuiltinModule('node:${path}');`,
          'export default builtin;',
          ...names.map(
            (name) => `export const ${name} = /* @__PURE__ */ Reflect.get(builtin, '${name}');`,
          ),
        ].join('\n'),
      };
    });
  },
};

// Of prom-client what is used: the rest would load OpenTelemetry, `node:cluster` and more.
const promClient = {
  name: 'prom-client',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^prom-client$/ }, ({ path }) => ({ path, namespace: 'prom-client' }));
    onLoad({ filter: /.*/, namespace: 'prom-client' }, () => ({
      contents: ['Registry', 'Counter', 'Gauge']
        .map(
          (name) =>
            `export { default as ${name} } from 'prom-client/lib/${name.toLowerCase()}.js';`,
        )
        .join('\n'),
      resolveDir: root,
    }));
  },
};

rmSync(outdir, { recursive: true, force: true });
await build({
  absWorkingDir: root,
  // The worker threads' file lies beside the chunks, whichever of them starts the threads.
  entryPoints: { main: 'src/main.ts', tasks: 'src/workers/tasks.ts' },
  outdir,
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node24',
  mainFields: ['module', 'main'],
  minifySyntax: true,
  minifyWhitespace: true,
  legalComments: 'linked',
  // These stay packages: piscina starts a file of its own on its threads, the others are loaded
  // only where a flag or a variable asks for them.
  external: ['piscina', '@opentelemetry/*', 'yaml', 'ioredis'],
  // What CommonJS packages expect, inside ES modules.
  banner: {
    js: "const require = process.getBuiltinModule('node:module').createRequire(import.meta.url);",
  },
  plugins: [builtins, promClient],
  logLevel: 'warning',
});
