import type { MetadataBearer } from '@smithy/types';

/** Input of `AssumeRoleForPodIdentityCommand`. */
export interface AssumeRoleForPodIdentityCommandInput {
  /** 1 to 100 characters, `[0-9A-Za-z][A-Za-z0-9\-_]*`. */
  clusterName: string | undefined;
  /** The pod's service account token, audience `pods.eks.amazonaws.com`. */
  token: string | undefined;
}

/** Output of `AssumeRoleForPodIdentityCommand`, unchecked. */
export interface AssumeRoleForPodIdentityCommandOutput extends MetadataBearer {
  subject: { namespace: string | undefined; serviceAccount: string | undefined } | undefined;
  audience: string | undefined;
  podIdentityAssociation:
    | { associationArn: string | undefined; associationId: string | undefined }
    | undefined;
  assumedRoleUser: { arn: string | undefined; assumeRoleId: string | undefined } | undefined;
  credentials:
    | {
        sessionToken: string | undefined;
        secretAccessKey: string | undefined;
        accessKeyId: string | undefined;
        expiration: Date | undefined;
      }
    | undefined;
}
