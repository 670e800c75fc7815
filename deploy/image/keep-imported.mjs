// Takes out of package.json whatever the bundle does not import, so that the image has only the
// packages that are still loaded from node_modules. Runs in the image's build.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';

const manifest = JSON.parse(readFileSync('package.json', 'utf8'));
const bundle = readdirSync('dist')
  .filter((file) => file.endsWith('.js'))
  .map((file) => readFileSync(`dist/${file}`, 'utf8'))
  .join('\n');
const IMPORT = /\b(?:from|import|import\(|require\(|resolve\()\s*["']((?:@[^/"']+\/)?[^./"'][^/"']*)/g;
const imported = new Set([...bundle.matchAll(IMPORT)].map(([, name]) => name));

manifest.dependencies = Object.fromEntries(
  Object.entries(manifest.dependencies).filter(([name]) => imported.has(name)),
);
delete manifest.devDependencies;
writeFileSync('package.json', `${JSON.stringify(manifest, null, 2)}\n`);
