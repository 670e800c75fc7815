import { readFileSync } from 'node:fs';
import t from 'tap';

// What stands in several files and has to be the same in all of them.

function read(path: string): string {
  return readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');
}

const DOCKERFILE = read('Dockerfile');
/** The flags of node on the program's first line. */
const FLAGS = /^#!\/usr\/bin\/env -S node (.*)$/m.exec(read('src/launcher.js'))?.[1]?.split(' ');

t.test('the base is pinned, to the Node.js that all else is tested with', async (t) => {
  const images = [...DOCKERFILE.matchAll(/^FROM (\S+)/gm)].map(([, image]) => image);
  t.ok(images.length > 1);
  for (const image of images) t.match(image, /^\$\{NODE_IMAGE\}$|^scratch$/);
  const [, tag] = /^ARG NODE_IMAGE=docker\.io\/library\/node:(\S+)$/m.exec(DOCKERFILE) ?? [];
  const { version } = JSON.parse(read('package-lock.json')).packages['node_modules/node'];
  t.match(version, /^\d+\.\d+\.\d+$/);
  t.equal(tag, `${version}-bookworm-slim`);
  t.match(read('deploy/README.md'), `NODE_IMAGE=docker.io/library/node:${tag}@sha256:`);
});

t.test('the entry point has the flags of the command', async (t) => {
  const entrypoint = JSON.parse(/^ENTRYPOINT (.*)$/m.exec(DOCKERFILE)?.[1] ?? '[]');
  t.strictSame(entrypoint.slice(1, -1), FLAGS);
  t.ok(entrypoint.includes('--disable-sigusr1'), 'no debugger on a signal');
});

t.test('and so has `npm run broker`', async (t) => {
  const words = JSON.parse(read('package.json')).scripts.broker.split(' ');
  t.strictSame(words, ['node', ...(FLAGS ?? []), 'src/main.ts']);
});

t.test('the image is labelled with the version of the package', async (t) => {
  const { version } = JSON.parse(read('package.json'));
  t.match(DOCKERFILE, new RegExp(`^ARG VERSION=${version}$`, 'm'));
});
