import { chmodSync, existsSync, mkdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { createNode, type Namespace, type NodeNamespace } from '../../src/simulator/netns.ts';
import { type LogLine, startBroker } from '../support/broker-process.ts';
import { needsNamespaces } from '../support/needs.ts';

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
const MIGRATION = '/proc/sys/net/ipv4/tcp_migrate_req';
const LINK = 'pod-id-link0';
const IPV4 = '169.254.170.23';
const IPV6 = 'fd00:ec2::23';

const skip = needsNamespaces();

/** A node on which nothing was made ready yet. */
async function bareNode(t: Test, options: { ipv6?: boolean } = {}): Promise<NodeNamespace> {
  const node = await createNode(options);
  t.teardown(() => node.close());
  await ip(node, `link delete ${LINK}`);
  return node;
}

/** What a program said in a namespace. */
async function run(place: Namespace, command: string, args: readonly string[]) {
  const child = place.exec(command, args, { stdio: ['ignore', 'pipe', 'pipe'], env: {} });
  const code = new Promise<number | null>((resolve) => child.once('close', resolve));
  const [stdout, stderr] = await Promise.all([
    text(child.stdout as NodeJS.ReadableStream),
    text(child.stderr as NodeJS.ReadableStream),
  ]);
  return { code: await code, stdout, stderr };
}

/** Runs `ip` in a namespace; it has to work. */
async function ip(place: Namespace, command: string): Promise<string> {
  const { code, stdout, stderr } = await run(place, '/sbin/ip', command.split(' '));
  if (code !== 0) throw new Error(`ip ${command}: ${stderr}`);
  return stdout;
}

/** Runs `initialize`, with the socket's folder in a place of the test's own. */
async function initialize(place: Namespace, folder: string, args: readonly string[] = []) {
  const socket = `--admin-socket=${folder}/admin.sock`;
  const words = [MAIN, 'initialize', ...(folder === '' ? [] : [socket]), ...args];
  const { code, stdout, stderr } = await run(place, process.execPath, words);
  const lines = stdout.split('\n').filter((line) => line !== '');
  return { code, stderr, logs: lines.map((line) => JSON.parse(line) as LogLine) };
}

/** What there is of the link: flags, addresses with their faults, routes of the main table. */
async function state(node: Namespace) {
  const [link] = JSON.parse(await ip(node, `-json -details address show dev ${LINK}`));
  const routes = async (family: string, address: string) =>
    JSON.parse((await ip(node, `-json ${family} route show table main exact ${address}`)) || '[]');
  return {
    up: link.flags.includes('UP'),
    addresses: link.addr_info
      .filter(({ scope }: { scope: string }) => scope === 'global')
      .map((one: { local: string; prefixlen: number; tentative?: true }) =>
        [`${one.local}/${one.prefixlen}`, one.tentative ? 'tentative' : ''].join(''),
      ),
    routes: [...(await routes('-4', IPV4)), ...(await routes('-6', IPV6))].map(
      ({ dev }: { dev: string }) => dev,
    ),
  };
}

/** The link's type. */
async function kindOf(node: Namespace): Promise<string> {
  const [link] = JSON.parse(await ip(node, `-json -details link show dev ${LINK}`));
  return link.linkinfo.info_kind;
}

/** What a new link is: a bridge only where the kernel has no dummy driver. */
async function newKind(node: Namespace): Promise<string> {
  try {
    await ip(node, 'link add probe type dummy');
  } catch {
    return 'bridge';
  }
  await ip(node, 'link delete probe');
  return 'dummy';
}

const COMPLETE = {
  up: true,
  addresses: [`${IPV4}/32`, `${IPV6}/128`],
  routes: [LINK, LINK],
};

/** No command of `ip`: has duplicate address detection take longer than the test. */
const DETECT_FOR_LONG = 'detect for long';

/** What an earlier run, or the existing agent, may have left. */
const LEFT: Readonly<Record<string, readonly string[]>> = {
  nothing: [],
  'the link alone': [`link add ${LINK} type bridge`],
  'the link, up': [`link add ${LINK} type bridge`, `link set ${LINK} up`],
  'one address, down': [`link add ${LINK} type bridge`, `addr add ${IPV4}/32 dev ${LINK}`],
  'the other address, up': [
    `link add ${LINK} type bridge`,
    `link set ${LINK} up`,
    `-6 addr add ${IPV6}/128 dev ${LINK} nodad`,
  ],
  'both addresses, down': [
    `link add ${LINK} type bridge`,
    `addr add ${IPV4}/32 dev ${LINK}`,
    `-6 addr add ${IPV6}/128 dev ${LINK} nodad`,
  ],
  'an address of a shorter prefix': [
    `link add ${LINK} type bridge`,
    `addr add ${IPV4}/16 dev ${LINK}`,
    `link set ${LINK} up`,
  ],
  'an address that nobody can listen on yet': [
    `link add ${LINK} type bridge`,
    `link set ${LINK} up`,
    DETECT_FOR_LONG,
    `-6 addr add ${IPV6}/128 dev ${LINK}`,
  ],
  'no routes': [
    `link add ${LINK} type bridge`,
    `addr add ${IPV4}/32 dev ${LINK}`,
    `-6 addr add ${IPV6}/128 dev ${LINK} nodad`,
    `link set ${LINK} up`,
    `-6 route delete ${IPV6}/128 dev ${LINK}`,
  ],
  'all that the existing agent makes': [
    `link add ${LINK} type bridge`,
    `addr add ${IPV4}/32 dev ${LINK}`,
    `-6 addr add ${IPV6}/128 dev ${LINK} nodad`,
    `link set ${LINK} up`,
    `route add ${IPV4}/32 dev ${LINK}`,
  ],
};

t.test('from everything that may have been left', { skip }, async (t) => {
  for (const [name, commands] of Object.entries(LEFT)) {
    await t.test(name, async (t) => {
      const node = await bareNode(t);
      for (const command of commands) {
        if (command === DETECT_FOR_LONG) await detectForLong(node);
        else await ip(node, command);
      }
      const folder = `${t.testdir({})}/run`;
      const first = await initialize(node, folder, ['-v', 'trace']);
      t.equal(first.code, 0, first.stderr);
      t.strictSame(await state(node), COMPLETE);
      t.match(first.logs.at(-1), { level: 'info', msg: 'the node is ready' });
      const kind = commands.length === 0 ? await newKind(node) : 'bridge';
      t.equal(await kindOf(node), kind);

      const again = await initialize(node, folder);
      t.equal(again.code, 0);
      t.strictSame(
        again.logs.map(({ msg }) => msg),
        ['the node is ready'],
        'nothing is left to do',
      );
      t.strictSame(await state(node), COMPLETE);
    });
  }
});

async function detectForLong(node: Namespace): Promise<void> {
  const set = `echo 1000 > /proc/sys/net/ipv6/conf/${LINK}/dad_transmits`;
  await run(node, '/bin/sh', ['-c', set]);
}

t.test('a server and its pods, over both families', { skip }, async (t) => {
  const node = await bareNode(t);
  t.equal((await initialize(node, `${t.testdir({})}/run`)).code, 0);
  const broker = await startBroker({ t, node, args: ['-c=c'], env: { AWS_REGION: 'us-east-1' } });
  t.equal(await broker.probe('readyz'), 200);
  const pod = await node.createPod();
  for (const host of [IPV4, `[${IPV6}]`]) {
    const script = `fetch('http://${host}/v1/credentials').then((a) => console.log(a.status))`;
    const { stdout, stderr } = await run(pod, process.execPath, ['-e', script]);
    t.equal(stdout.trim(), '400', `${host} answers a pod ${stderr}`);
  }
});

t.test('IPv6 switched off', { skip }, async (t) => {
  const node = await bareNode(t, { ipv6: false });
  const { code, logs } = await initialize(node, `${t.testdir({})}/run`);
  t.equal(code, 0);
  t.match(
    logs.find(({ address }) => address === IPV6),
    { level: 'warn', msg: 'going on without IPv6', reason: /switched off/ },
  );
  t.strictSame(await state(node), { up: true, addresses: [`${IPV4}/32`], routes: [LINK] });
  const broker = await startBroker({ t, node, args: ['-c=c'], env: { AWS_REGION: 'us-east-1' } });
  t.equal(await broker.probe('readyz'), 200);
});

t.test('a route that belongs to another interface', { skip }, async (t) => {
  const node = await bareNode(t);
  const folder = `${t.testdir({})}/run`;
  await ip(node, 'link add other type bridge');
  await ip(node, 'link set other up');
  await ip(node, `-6 route add ${IPV6}/128 dev other`);
  const six = await initialize(node, folder);
  t.equal(six.code, 0, 'IPv6 is optional');
  t.match(
    six.logs.find(({ level }) => level === 'error'),
    { address: IPV6, reason: /fd00:ec2::23 is routed to other, not to pod-id-link0/ },
  );
  await ip(node, `-6 route delete ${IPV6}/128 dev other`);

  await ip(node, `route replace ${IPV4}/32 dev other`);
  const four = await initialize(node, folder);
  t.equal(four.code, 1);
  t.match(four.logs.at(-1), {
    level: 'fatal',
    reason: /169\.254\.170\.23 is routed to other, not to pod-id-link0/,
  });

  await ip(node, `route delete ${IPV4}/32 dev other`);
  await ip(node, `route add unreachable ${IPV4}/32`);
  const none = await initialize(node, folder);
  t.equal(none.code, 1);
  t.match(none.logs.at(-1)?.reason, /is routed to unreachable/);

  await ip(node, `route delete unreachable ${IPV4}/32`);
  t.equal((await initialize(node, folder)).code, 0);
  t.strictSame(await state(node), COMPLETE, 'mended once that is');
});

t.test('a name that belongs to another kind of interface', { skip }, async (t) => {
  const node = await bareNode(t);
  await ip(node, `link add ${LINK} type veth peer name other`);
  for (const args of [[], ['--remove']]) {
    const { code, logs } = await initialize(node, `${t.testdir({})}/run`, args);
    t.equal(code, 1);
    t.match(logs.at(-1), { level: 'fatal', reason: /pod-id-link0 is there, as a veth/ });
  }
  t.match(await ip(node, 'link show'), LINK, 'is left alone');
});

t.test('two runs at once', { skip }, async (t) => {
  const node = await bareNode(t);
  const folder = `${t.testdir({})}/run`;
  const runs = await Promise.all([1, 2, 3].map(() => initialize(node, folder)));
  for (const { code, logs } of runs) t.equal(code, 0, String(logs.at(-1)?.reason));
  t.strictSame(await state(node), COMPLETE);
});

t.test('without the rights', { skip }, async (t) => {
  const node = await bareNode(t);
  const nobody = ['--reuid=65534', '--clear-groups', process.execPath, MAIN, 'initialize'];
  const { code, stdout } = await run(node, '/usr/bin/setpriv', nobody);
  t.equal(code, 1);
  t.match(stdout, /"level":"fatal".*Operation not permitted/);
});

t.test('tcp_migrate_req', { skip: skip || noMigration() }, async (t) => {
  const setting = async (node: Namespace) =>
    (await run(node, '/bin/cat', [MIGRATION])).stdout.trim();
  await t.test('is switched on, and off again by --remove', async (t) => {
    const node = await bareNode(t);
    const folder = `${t.testdir({})}/run`;
    t.equal(await setting(node), '0');
    await initialize(node, folder);
    await initialize(node, folder);
    t.equal(await setting(node), '1');
    t.equal((await initialize(node, folder, ['--remove'])).code, 0);
    t.equal(await setting(node), '0');
  });
  await t.test('is left as it was, where it was on', async (t) => {
    const node = await bareNode(t);
    const folder = `${t.testdir({})}/run`;
    await run(node, '/bin/sh', ['-c', `echo 1 > ${MIGRATION}`]);
    await initialize(node, folder);
    await initialize(node, folder, ['--remove']);
    t.equal(await setting(node), '1');
  });
});

/** Why this kernel cannot show it. */
function noMigration(): string | false {
  return existsSync(MIGRATION) ? false : 'the kernel has no tcp_migrate_req (Linux 5.14)';
}

t.test('--remove', { skip }, async (t) => {
  const node = await bareNode(t);
  const folder = `${t.testdir({})}/run`;
  await initialize(node, folder, ['--server-uid=64023']);
  const removed = await initialize(node, folder, ['--remove']);
  t.equal(removed.code, 0);
  t.notMatch(await ip(node, 'link show'), LINK);
  t.equal(await ip(node, `route show table all ${IPV4}`), '');
  t.notOk(existsSync(folder));
  const again = await initialize(node, folder, ['--remove']);
  t.equal(again.code, 0, 'and again');
});

t.test('the folder of the admin socket', { skip }, async (t) => {
  const node = await bareNode(t);
  const home = t.testdir({ open: {}, full: { inner: {} }, files: { 'admin.sock': '' } });
  const mode = (folder: string) => {
    const { uid, mode } = statSync(`${home}/${folder}`);
    return [uid, (mode & 0o7777).toString(8)];
  };
  await t.test('is made for the server’s user, and for nobody else', async (t) => {
    const { code } = await initialize(node, `${home}/a/b`, ['--server-uid', '64023']);
    t.equal(code, 0);
    t.strictSame(mode('a/b'), [64_023, '700']);
    t.match(mode('a'), [0], 'folders above it are root’s');
  });
  await t.test('is made fit where it is there, as the kubelet makes it', async (t) => {
    chmodSync(`${home}/open`, 0o755);
    await initialize(node, `${home}/open`, ['--server-uid', '64023']);
    t.strictSame(mode('open'), [64_023, '700']);
    await initialize(node, `${home}/open`, ['--server-uid', '0']);
    t.strictSame(mode('open'), [0, '700'], 'of another user later');
    await initialize(node, `${home}/files`);
    t.strictSame(mode('files'), [0, '700'], 'with what a server left in it');
  });
  await t.test('is nobody else’s: links, and folders with folders, are refused', async (t) => {
    chmodSync(`${home}/full`, 0o755);
    symlinkSync(`${home}/full/inner`, `${home}/link`);
    mkdirSync(`${home}/writable`);
    writeFileSync(`${home}/plain`, '');
    for (const folder of ['full', 'link', 'plain']) {
      const { code, logs } = await initialize(node, `${home}/${folder}`, ['--server-uid=64023']);
      t.equal(code, 1, folder);
      t.match(logs.at(-1), { level: 'fatal', reason: new RegExp(`${folder} cannot be`) });
    }
    t.strictSame(mode('full'), [0, '755'], 'and left alone');
    t.equal(statSync(`${home}/full/inner`).uid, 0);
    await initialize(node, `${home}/full`, ['--remove']);
    t.ok(existsSync(`${home}/full/inner`), 'by --remove too');
  });
});

t.test('flags of the existing agent, in its spellings', { skip }, async (t) => {
  const node = await bareNode(t);
  const folder = `${t.testdir({})}/run`;
  for (const args of [
    ['-v', 'trace'],
    ['-v=debug'],
    ['--verbosity=trace'],
    ['--verbosity', 'error'],
  ]) {
    const { code, stderr } = await initialize(node, folder, args);
    t.equal(code, 0, `${args.join(' ')} ${stderr}`);
  }
});

t.test('flags that are wrong', { skip }, async (t) => {
  const node = await bareNode(t);
  for (const [flag, ...args] of [
    ['--server-uid', '--server-uid=-1'],
    ['--server-uid', '--server-uid=root'],
    ['--verbosity', '-v=loud'],
    ['--undo', '--undo'],
  ] as const) {
    const { code, stderr } = await initialize(node, '', args);
    t.equal(code, 2, args.join(' '));
    t.match(stderr, flag);
  }
  t.notMatch(await ip(node, 'link show'), LINK, 'nothing was done');
});
