import { homedir } from 'node:os';
import { join } from 'node:path';
import type { Clock } from '../clock.ts';
import type { Environment } from '../http/proxy.ts';
import { FileReadError, readTextFile } from '../read-file.ts';
import { CredentialChainError } from './failure.ts';

/**
 * Where the shared configuration files are, as the SDK has it.
 *
 * @see https://docs.aws.amazon.com/sdkref/latest/guide/file-location.html
 */
export function sharedFiles(env: Environment): { config: string; credentials: string } {
  const home = env.HOME || homedir();
  const place = (named: string | undefined, usual: string) =>
    (named || join('~', '.aws', usual)).replace(/^~(?=\/)/, home);
  return {
    config: place(env.AWS_CONFIG_FILE, 'config'),
    credentials: place(env.AWS_SHARED_CREDENTIALS_FILE, 'credentials'),
  };
}

/**
 * Reads the files that the SDK is about to read, and has it use what was read. On a volume that hangs
 * the SDK's own reads never end: each keeps a thread of the few that look names up as well, and the
 * one of a web identity token the main thread. Files that cannot be read are left to the SDK.
 *
 * @throws CredentialChainError naming the file that hangs, or has no end.
 */
export async function readSharedFiles(env: Environment, clock?: Clock): Promise<void> {
  const { externalDataInterceptor: sdk } = await import('@smithy/core/config');
  const { config, credentials } = sharedFiles(env);
  const { AWS_WEB_IDENTITY_TOKEN_FILE: token, AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE: container } =
    env;
  const files = sdk.getFileRecord();
  const tokens = sdk.getTokenRecord();
  const read = async (path: string | undefined, use?: (content: string) => void) => {
    if (!path) return;
    delete files[path];
    delete tokens[path];
    try {
      const content = await readTextFile(path, { clock });
      use?.(content);
    } catch (error) {
      if (!(error instanceof FileReadError)) return;
      throw new CredentialChainError(`${path} cannot be read: ${error.message}`, { cause: error });
    }
  };
  await Promise.all([
    read(config, (content) => sdk.interceptFile(config, content)),
    read(credentials, (content) => sdk.interceptFile(credentials, content)),
    read(token, (content) => token && sdk.interceptToken(token, content)),
    read(container),
  ]);
}
