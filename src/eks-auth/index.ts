export {
  EKSAuthClient,
  type EKSAuthClientConfig,
  type EKSAuthClientResolvedConfig,
} from './client.ts';
export { AssumeRoleForPodIdentityCommand } from './command.ts';
export * from './exceptions.ts';
export type {
  AssumeRoleForPodIdentityCommandInput,
  AssumeRoleForPodIdentityCommandOutput,
} from './models.ts';
