import { makeBuilder } from '@smithy/core/client';
import { getEndpointPlugin } from '@smithy/core/endpoints';
import type { EKSAuthClientResolvedConfig } from './client.ts';
import type {
  AssumeRoleForPodIdentityCommandInput,
  AssumeRoleForPodIdentityCommandOutput,
} from './models.ts';
import { AssumeRoleForPodIdentity } from './schemas.ts';

const command = makeBuilder<
  EKSAuthClientResolvedConfig,
  AssumeRoleForPodIdentityCommandInput,
  AssumeRoleForPodIdentityCommandOutput
>(
  {
    UseFIPS: { type: 'builtInParams', name: 'useFipsEndpoint' },
    Endpoint: { type: 'builtInParams', name: 'endpoint' },
    Region: { type: 'builtInParams', name: 'region' },
  },
  'EKSAuthFrontend',
  'EKSAuthClient',
  getEndpointPlugin,
);

/** Exchanges a pod's service account token for credentials of the associated role. */
export class AssumeRoleForPodIdentityCommand extends command(
  {},
  () => [],
  'AssumeRoleForPodIdentity',
  AssumeRoleForPodIdentity,
) {}
