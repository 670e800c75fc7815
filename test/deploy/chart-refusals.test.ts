import t from 'tap';
import { helmTemplate, needsChartTools, REGION, REQUIRED, type Values } from './chart.ts';

const skip = needsChartTools();

/** Values that are refused, and what the message has to say. */
const REFUSED: readonly (readonly [Values, ...RegExp[]])[] = [
  [{ clusterName: '' }, /clusterName/],
  [{ clusterName: 'a b' }, /clusterName/],
  [{ clusterName: 'EKS_CLUSTER_NAME' }, /clusterName: .*name of your cluster/],
  [{ env: { AWS_REGION: 'AWS_REGION_NAME' } }, /env\.AWS_REGION: .*your region/],
  [{ image: {} }, /image\.repository: is required/],
  [
    { image: { containerRegistry: '602401143452.dkr.ecr.us-west-2.amazonaws.com' } },
    /image\.containerRegistry: .*write image\.repository/,
  ],
  [{ image: { ...REQUIRED.image, region: 'us-west-2' } }, /image\.region: .*leave it out/],
  [
    { image: { override: 'mirror.example/eks/eks-pod-identity-agent:v0.1.20' } },
    /image\.override: .*write image\.repository/,
  ],
  [{ image: { repository: 'x/eks-pod-identity-agent' } }, /image\.repository: names the existing/],
  [
    { agent: { command: "['/go-runner', '/eks-pod-identity-agent', 'server']" } },
    /agent\.command: .*agent\.additionalArgs/,
  ],
  [{ init: { command: ['initialize'] } }, /init\.command: .*init\.additionalArgs/],
  [{ agent: { metrics: { port: 1 } } }, /agent\.metrics: write metrics/],
  [
    {
      agent: { advertiseProxyPort: true },
      updateStrategy: { rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
    },
    /agent\.advertiseProxyPort: .*write false/,
  ],
  [{ podLivenessCheck: { enabled: true }, watchPods: 'audit' }, /podLivenessCheck\.enabled: /],
  [{ podLivenessCheck: { enabled: true }, watchPods: 'off' }, /podLivenessCheck\.enabled: /],
  [{ daemonsets: { hybrid: { create: true } } }, /env\.AWS_REGION: is required.*\.hybrid/],
  [
    { daemonsets: { 'hybrid-bottlerocket': { create: true } }, env: { AWS_REGION: '' } },
    /env\.AWS_REGION: is required.*\.hybrid-bottlerocket/,
  ],
  [
    { daemonsets: { hybrid: { create: true } }, env: { AWS_REGION: 'AWS_REGION_NAME' } },
    /env\.AWS_REGION: .*your region; write its name$/m,
  ],
  [{ image: { ...REQUIRED.image, tag: 'v1.3.8-eksbuild.2' } }, /image\.tag: .*leave it out/],
  [{ fullnameOverride: 'eks-pod-identity-agent' }, /fullnameOverride: .*leave it out/],
  [{ nameOverride: 'eks-pod-identity-agent' }, /nameOverride: .*leave it out/],
  [{ strictAddress: true, watchPods: 'off' }, /strictAddress: needs watchPods/],
  [
    { serviceAccount: { create: false } },
    /serviceAccount: watchPods: audit \(the default\) .*serviceAccount\.create: true.*watchPods: off/,
  ],
  [
    { serviceAccount: { create: false, name: '' }, watchPods: 'off', startupTaint: 'a' },
    /serviceAccount: startupTaint needs rights.*the name of an account$/m,
  ],
  [{ serviceAccount: { name: "x'||'" } }, /serviceAccount.*name/],
  [{ startupTaint: "a'" }, /startupTaint/],
  [{ watchPods: 'on' }, /watchPods/],
  [{ redis: { url: 'redis://host' } }, /redis\.secretName: redis\.url needs it/],
  [
    { redis: { url: 'redis://host', secretName: 'x', sharing: 'cluster' }, sessionScope: 'pod' },
    /redis\.sharing: .*write node/,
  ],
  [{ redis: { secretName: 'x' } }, /redis\.url: redis\.secretName/],
  [{ redis: { keyHostPath: '/key' } }, /redis\.url: redis\.keyHostPath/],
  [{ redis: { url: 'redis://host', keyHostPath: 'key' } }, /keyHostPath/],
  [
    { redis: { url: 'redis://host', keyHostPath: '/key', caEntry: 'ca.crt' } },
    /redis\.secretName: redis\.caEntry needs it/,
  ],
  [
    { redis: { url: 'redis+sentinel://a/main', keyHostPath: '/key', sentinelPasswordEntry: 'p' } },
    /redis\.secretName: redis\.sentinelPasswordEntry needs it/,
  ],
  [
    { redis: { url: 'redis+sentinel://a/main', secretName: 'x', sentinelUsername: 'me' } },
    /redis\.sentinelPasswordEntry: redis\.sentinelUsername needs it/,
  ],
  [
    { redis: { url: 'redis://host', secretName: 'x', username: 'me' } },
    /redis\.passwordEntry: redis\.username needs it/,
  ],
  [
    { redis: { url: 'redis://host', secretName: 'x', sentinelPasswordEntry: 'p' } },
    /redis\.url: redis\.sentinelPasswordEntry is for a URL with \+sentinel/,
  ],
  [{ redis: { url: 'http://host', secretName: 'x' } }, /redis.*url/],
  [{ redis: { url: 'redis://me:secret@host', secretName: 'x' } }, /redis.*url/],
  [{ resources: { limits: { memory: '0.5Gi' } } }, /resources\.limits\.memory/],
  [{ resources: { limits: { memory: '64Mi' } } }, /resources\.limits\.memory: 64Mi: .*128Mi/],
  [{ image: { ...REQUIRED.image, tag: 1.1 } }, /image\.tag: 1\.1: .*quotes/],
  [
    { image: { repository: 'a.example:5000/b:1.0' } },
    /image\.repository: .*write that in image\.tag/,
  ],
  [{ daemonsets: { cloud: { create: false } } }, /daemonsets: none/],
  [
    {
      daemonsets: { cloud: { create: true, nameSuffix: 'hybrid' }, hybrid: { create: true } },
      ...REGION,
    },
    /daemonsets\.hybrid\.nameSuffix: is that of daemonsets\.cloud/,
  ],
  [{ agent: { probePort: 2705 } }, /metrics\.port: is agent\.probePort/],
  [{ metrics: { port: 80 } }, /metrics\.port: 80/],
  [
    { agent: { additionalArgs: { '--probe-port': 2704 } } },
    /agent\.additionalArgs: --probe-port: write agent\.probePort/,
  ],
  [
    { daemonsets: { cloud: { create: true, additionalArgs: { '--watch-pods': 'enforce' } } } },
    /daemonsets\.cloud\.additionalArgs: --watch-pods: write watchPods/,
  ],
  [{ agent: { additionalArgs: { '--ready-id': 'a' } } }, /--ready-id: leave it out/],
  ...['agent', 'init', 'redis', 'otel', 'metrics', 'serviceAccount', 'daemonsets', 'image'].map(
    (name) => [{ [name]: null }, new RegExp(`missing.*${name}`)] as const,
  ),
  [{ sessionScope: 'node' }, /sessionScope/],
  [{ podScope: ['Shop'] }, /podScope/],
  [{ agent: { probePort: 70_000 } }, /probePort/],
  [{ agent: { additionalArgs: ['-v'] } }, /additionalArgs/],
  [{ agent: { additionalArgs: { verbosity: 'trace' } } }, /additionalArgs|verbosity/],
  [{ metrics: { port: 'x' } }, /metrics.*port/],
  [{ dnsPolicy: 'None' }, /dnsPolicy/],
  [{ daemonsets: { windows: { create: true } } }, /windows/],
  [{ sessionscope: 'pod' }, /sessionscope/],
  [{ otel: { endpoint: 'collector:4318' } }, /otel.*endpoint/],
];

t.test('a wrong value is refused, by its name', { skip }, async (t) => {
  for (const [values, ...messages] of REFUSED) {
    const { code, stderr } = helmTemplate({ ...REQUIRED, ...values });
    t.not(code, 0, JSON.stringify(values));
    for (const message of messages) t.match(stderr, message);
  }
});
