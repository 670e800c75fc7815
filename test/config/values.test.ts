import fc from 'fast-check';
import t from 'tap';
import * as value from '../../src/config/values.ts';

/** Any text, and such as is nearly a number, a name, an address or a URL. */
const anyText = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 120, size: 'max' }),
  fc.string({ unit: fc.constantFrom(...'019afzA:/[].,-_%@? \n'), maxLength: 60, size: 'max' }),
);

/** Everything in `good` is read as what stands beside it, everything in `bad` is a TypeError. */
function table<T>(
  name: string,
  read: (text: string) => T,
  good: readonly (readonly [string, T])[],
  bad: readonly string[],
): void {
  t.test(name, async (t) => {
    for (const [text, expected] of good) t.strictSame(read(text), expected, JSON.stringify(text));
    for (const text of bad) t.throws(() => read(text), TypeError, JSON.stringify(text));
    fc.assert(
      fc.property(anyText, (text) => {
        try {
          read(text);
          return true;
        } catch (error) {
          return error instanceof TypeError;
        }
      }),
    );
  });
}

table(
  'ports',
  value.port,
  [
    ['1', 1],
    ['80', 80],
    ['080', 80],
    ['65535', 65_535],
  ],
  ['', '0', '65536', '-1', '+80', '80.0', '8e1', '0x50', ' 80', '80 ', '80\n', 'http', '９'],
);

table(
  'whole numbers',
  value.wholeNumber(0, 10),
  [
    ['0', 0],
    ['10', 10],
  ],
  ['11', '-0', '1.5', '', '1'.repeat(400), 'NaN', 'Infinity'],
);

table(
  'rates',
  value.rate,
  [
    ['3', 3],
    ['0.5', 0.5],
    ['1000', 1_000],
    ['0.000001', 1e-6],
  ],
  ['0', '0.0', '-1', '', '.5', '1.', '1e3', '1/s', 'Infinity', 'NaN', '9'.repeat(10)],
);

table(
  "booleans in the forms of Go's strconv.ParseBool",
  value.boolean,
  [
    ...['1', 't', 'T', 'TRUE', 'true', 'True'].map((text) => [text, true] as const),
    ...['0', 'f', 'F', 'FALSE', 'false', 'False'].map((text) => [text, false] as const),
  ],
  ['', 'yes', 'no', 'on', 'off', 'tRUE', 'y', ' true', 'true ', '2', 'null', 'undefined'],
);

table(
  'words',
  value.oneOf(['pod', 'token']),
  [
    ['pod', 'pod'],
    ['token', 'token'],
  ],
  ['', 'Pod', 'pods', 'pod,token', 'toString', '__proto__'],
);

table(
  'names of clusters',
  value.clusterName,
  [
    ['a', 'a'],
    ['0', '0'],
    ['My_cluster-1', 'My_cluster-1'],
    ['x'.repeat(100), 'x'.repeat(100)],
  ],
  ['', '-a', '_a', 'a.b', 'a/b', 'a b', 'a\n', '../x', 'ä', 'x'.repeat(101)],
);

table(
  'addresses to listen on',
  value.hosts,
  [
    ['127.0.0.1', ['127.0.0.1']],
    ['localhost', ['localhost']],
    ['169.254.170.23,[fd00:ec2::23]', ['169.254.170.23', 'fd00:ec2::23']],
    ['169.254.170.23, fd00:ec2::23', ['169.254.170.23', 'fd00:ec2::23']],
    ['[::1]', ['::1']],
    ['::', ['::']],
    ['0.0.0.0', ['0.0.0.0']],
    ['FD00:EC2::23', ['fd00:ec2::23']],
    ['[fd00:0ec2:0:0:0:0:0:23]', ['fd00:ec2::23']],
    ['fe80::1%eth0', ['fe80::1%eth0']],
    ['::ffff:127.0.0.1,[::ffff:a9fe:aa17]', ['127.0.0.1', '169.254.170.23']],
  ],
  [
    '',
    ',',
    '127.0.0.1,',
    'example.com',
    '127.0.0.1:80',
    '[::1]:80',
    '[::1',
    '::1]',
    '[]',
    '127.1',
    '1.2.3',
    '1.2.3.256',
    '169.254.170.23/32',
    'http://127.0.0.1',
    'Localhost',
  ],
);

table(
  'one address',
  value.host,
  [
    ['0.0.0.0', '0.0.0.0'],
    ['[::]', '::'],
  ],
  ['', '0.0.0.0,::', 'example.com'],
);

t.test('URLs', async (t) => {
  for (const text of [
    'https://eks-auth.us-east-1.api.aws',
    'https://eks-auth.us-east-1.api.aws/',
    'http://10.0.0.1:8090/path',
    'https://[fd00::1]:443',
  ]) {
    t.equal(value.url(text).href, new URL(text).href, text);
  }
  for (const text of [
    '',
    'eks-auth.us-east-1.api.aws',
    '//host',
    'https://',
    'https:// host',
    ' https://host',
    'https://host\n',
    'ftp://host',
    'file:///etc/passwd',
    'unix:/run/x.sock',
    'javascript:alert(1)',
    'https://user@host',
    'https://user:password@host',
    'https://:password@host',
    'https://host?query',
    'https://host/#fragment',
    'https://host:99999',
  ]) {
    t.throws(() => value.url(text), TypeError, text);
    t.throws(() => value.trustedUrl(text), TypeError, `${text}, as one that is trusted`);
  }
  fc.assert(
    fc.property(fc.oneof(fc.webUrl(), anyText), (text) => {
      try {
        return value.url(text).search === '';
      } catch (error) {
        return error instanceof TypeError;
      }
    }),
  );
});

t.test('URLs whose answers are trusted: https, or http to a loopback address', async (t) => {
  for (const text of [
    'https://oidc.eks.us-east-1.amazonaws.com/id/ABC',
    'http://127.0.0.1:8090/id/ABC',
    'http://127.255.0.9',
    'http://localhost:1',
    'http://[::1]:8090/keys',
  ]) {
    t.equal(value.trustedUrl(text).href, new URL(text).href, text);
  }
  for (const text of [
    'http://10.0.0.1/keys',
    'http://169.254.169.254/keys',
    'http://example.com',
    'http://127.0.0.1.example.com',
    'http://127.example.com',
    'http://localhost.example.com',
    'http://[::2]',
    'http://0.0.0.0',
    'http://[::ffff:127.0.0.1]',
  ]) {
    t.throws(() => value.trustedUrl(text), { name: 'TypeError', message: /https/ }, text);
  }
  t.notOk(value.isTrustedUrl(new URL('ftp://127.0.0.1')));
  t.notOk(value.isTrustedUrl(new URL('file:///keys')));
});

t.test('issuers stay as they are written', async (t) => {
  for (const text of [
    'https://oidc.eks.us-east-1.amazonaws.com/id/ABC',
    'https://issuer.example',
    'https://issuer.example/',
    'https://issuer.example:443/tenant/',
    'https://Issuer.example',
  ]) {
    t.equal(value.issuer(text), text);
  }
  for (const text of ['issuer', 'http://issuer.example', 'https://issuer.example ', '']) {
    t.throws(() => value.issuer(text), TypeError, text);
  }
});

t.test('rules for sessions of a pod', async (t) => {
  for (const [text, namespace, serviceAccount] of [
    ['shop', 'shop', undefined],
    ['s', 's', undefined],
    ['shop/cart', 'shop', 'cart'],
    ['kube-system/aws-node', 'kube-system', 'aws-node'],
    ['shop/a.b-c', 'shop', 'a.b-c'],
    [`${'n'.repeat(63)}/${'s'.repeat(253)}`, 'n'.repeat(63), 's'.repeat(253)],
  ] as const) {
    t.strictSame(value.podScopeRule(text), { namespace, serviceAccount }, text);
  }
  for (const text of [
    '',
    '/',
    'shop/',
    '/cart',
    'shop/cart/x',
    'Shop',
    'shop/Cart',
    '-shop',
    'shop-',
    'sh.op',
    'sh op',
    'shop/cart\n',
    '*',
    'shop/*',
    'n'.repeat(64),
    `shop/${'s'.repeat(254)}`,
    'shop/-cart',
    'shop/cart-',
    'shop/cart.',
  ]) {
    t.throws(() => value.podScopeRule(text), TypeError, text);
  }
});

t.test('keys of taints', async (t) => {
  for (const text of ['ready', 'A_b.c-1', 'example.com/agent-not-ready', 'a/b', 'x'.repeat(63)]) {
    t.equal(value.labelKey(text), text);
  }
  for (const text of [
    '',
    '/',
    'a/',
    '/a',
    'a/b/c',
    '-a',
    'a-',
    'a b',
    'a=b',
    'Example.com/a',
    'example..com/a',
    'x'.repeat(64),
    `${'x'.repeat(254)}/a`,
  ]) {
    t.throws(() => value.labelKey(text), TypeError, text);
  }
});
