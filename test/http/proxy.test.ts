import t from 'tap';
import { proxyFromEnvironment } from '../../src/http/proxy.ts';

const proxyOf = (env: Record<string, string>, origin: string) =>
  proxyFromEnvironment(env)(new URL(origin))?.href;

t.test('each variable counts for its own scheme', async (t) => {
  const both = { HTTPS_PROXY: 'http://secure:3128', HTTP_PROXY: 'http://plain:3128' };
  t.equal(proxyOf(both, 'https://host'), 'http://secure:3128/');
  t.equal(proxyOf(both, 'http://host'), 'http://plain:3128/');
  t.equal(proxyOf({ HTTP_PROXY: 'http://plain:3128' }, 'https://host'), undefined);
  t.equal(proxyOf({ HTTPS_PROXY: 'http://secure:3128' }, 'http://host'), undefined);
  t.equal(proxyOf({}, 'https://host'), undefined);
  t.equal(proxyOf({ HTTPS_PROXY: '' }, 'https://host'), undefined);
});

t.test('lower case wins; the scheme may be left out', async (t) => {
  const env = { HTTPS_PROXY: 'http://upper', https_proxy: 'lower:3128' };
  t.equal(proxyOf(env, 'https://host'), 'http://lower:3128/');
});

t.test('what is not the URL of a proxy is refused, and not repeated', async (t) => {
  for (const value of ['socks5://user:secret@host', 'http://', '://secret', 'http://:secret@']) {
    t.throws(() => proxyFromEnvironment({ HTTPS_PROXY: value }), {
      name: 'ProxyUrlError',
      code: 'ERR_PROXY_URL',
      message: 'HTTPS_PROXY: not an http or https URL',
    });
    t.throws(() => proxyFromEnvironment({ HTTPS_PROXY: 'http://good', https_proxy: value }), {
      message: 'https_proxy: not an http or https URL',
    });
  }
});

t.test('loopback is always reached directly', async (t) => {
  const env = { HTTPS_PROXY: 'http://proxy', HTTP_PROXY: 'http://proxy' };
  for (const host of ['localhost', '127.0.0.1', '127.1.2.3:8080', '[::1]:8443', 'localhost.']) {
    t.equal(proxyOf(env, `https://${host}`), undefined, host);
    t.equal(proxyOf(env, `http://${host}`), undefined, host);
  }
  t.ok(proxyOf(env, 'https://localhost.example'));
});

t.test('NO_PROXY', async (t) => {
  const cases: [list: string, direct: string[], proxied: string[]][] = [
    ['*', ['https://a.example', 'https://10.0.0.1'], []],
    [
      'a.example',
      ['https://a.example', 'https://b.a.example:8443', 'https://A.Example.'],
      ['https://ba.example', 'https://example'],
    ],
    ['.a.example', ['https://b.a.example'], ['https://a.example']],
    ['*.a.example', ['https://b.a.example'], ['https://a.example']],
    ['a.example:8443', ['https://a.example:8443'], ['https://a.example']],
    ['a.example:443', ['https://a.example'], ['https://a.example:8443']],
    ['10.100.0.0/16', ['https://10.100.0.1', 'https://10.100.255.1:6443'], ['https://10.101.0.1']],
    ['10.100.0.1', ['https://10.100.0.1'], ['https://10.100.0.2']],
    ['10.100.0.1:443', ['https://10.100.0.1'], ['https://10.100.0.1:6443']],
    ['fd00::/8', ['https://[fd00:ec2::1]'], ['https://[fe00::1]']],
    ['[fd00::1]:443', ['https://[fd00:0::1]'], ['https://[fd00::1]:8443', 'https://[fd00::2]']],
    ['fd00::1', ['https://[fd00::1]:6443'], ['https://[fd00::2]']],
    [' a.example , b.example\tc.example', ['https://b.example', 'https://c.example'], []],
    // Nonsense exempts nobody, and does no harm.
    ['10.0.0.0/99,1.2.3.4/x,/8,::::,:443,[', [], ['https://10.0.0.1', 'https://a.example']],
  ];
  for (const [NO_PROXY, direct, proxied] of cases) {
    const env = { HTTPS_PROXY: 'http://proxy', NO_PROXY };
    for (const origin of direct) t.equal(proxyOf(env, origin), undefined, `${NO_PROXY}: ${origin}`);
    for (const origin of proxied) t.ok(proxyOf(env, origin), `${NO_PROXY}: ${origin}`);
  }
});
