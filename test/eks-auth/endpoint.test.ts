import t from 'tap';
import { parseEndpoint, resolveEndpoint } from '../../src/eks-auth/endpoint.ts';

t.test('the endpoint of a region is the dual-stack name of its partition', async (t) => {
  const endpoints = {
    'eu-central-1': 'https://eks-auth.eu-central-1.api.aws/',
    'us-gov-west-1': 'https://eks-auth.us-gov-west-1.api.aws/',
    'cn-north-1': 'https://eks-auth.cn-north-1.api.amazonwebservices.com.cn/',
    'eusc-de-east-1': 'https://eks-auth.eusc-de-east-1.api.amazonwebservices.eu/',
    'us-iso-east-1': 'https://eks-auth.us-iso-east-1.api.aws.ic.gov/',
    'us-isob-east-1': 'https://eks-auth.us-isob-east-1.api.aws.scloud/',
    'eu-isoe-west-1': 'https://eks-auth.eu-isoe-west-1.api.cloud-aws.adc-e.uk/',
    'us-isof-south-1': 'https://eks-auth.us-isof-south-1.api.aws.hci.ic.gov/',
    // A region that did not exist when the SDK was made, of a partition that did.
    'eu-neverland-9': 'https://eks-auth.eu-neverland-9.api.aws/',
  };
  for (const [region, href] of Object.entries(endpoints)) {
    t.equal(resolveEndpoint({ region }).href, href);
  }
});

t.test('FIPS has a name of its own', async (t) => {
  t.equal(
    resolveEndpoint({ region: 'us-east-2', fips: true }).href,
    'https://eks-auth-fips.us-east-2.api.aws/',
  );
  t.equal(
    resolveEndpoint({ region: 'us-gov-east-1', fips: true }).href,
    'https://eks-auth-fips.us-gov-east-1.api.aws/',
  );
});

t.test('an override is taken as it is', async (t) => {
  const endpoint = 'http://127.0.0.1:8080/prefix';
  t.equal(resolveEndpoint({ region: 'eu-central-1', endpoint }).href, endpoint);
  t.throws(() => resolveEndpoint({ region: 'eu-central-1', fips: true, endpoint }), {
    name: 'TypeError',
    message: /^endpoint: .*FIPS/,
  });
});

t.test('an override that is not a URL to send requests to is refused', async (t) => {
  for (const value of ['', 'eks-auth', 'ftp://host', 'host:443', 'https://', 'file:///etc']) {
    t.throws(() => parseEndpoint(value), {
      name: 'TypeError',
      message: /not an http or https URL/,
    });
  }
  t.throws(() => parseEndpoint('https://u:p@host'), { message: /user or password/ });
  t.throws(() => parseEndpoint('https://host/?a=b'), { message: /query/ });
  t.throws(() => parseEndpoint('https://host/#a'), { message: /fragment/ });
});

t.test('what is not the name of a region gets into no host name', async (t) => {
  for (const region of ['', 'eu.central', 'eu-central-1/', '-eu', 'EU', 'a@b', 'x'.repeat(64)]) {
    t.throws(() => resolveEndpoint({ region }), { name: 'TypeError', message: /^region: / });
  }
});
