import { lstat } from 'node:fs/promises';
import { makeFolder } from '../make-folder.ts';

/**
 * Makes a folder that nobody but this user may enter, if it is not there yet.
 *
 * @throws Error when it cannot be made, is another user's, is open to others, or is a link.
 */
export async function ownFolder(folder: string): Promise<void> {
  await makeFolder(folder);
  await checkOwnFolder(folder);
}

/**
 * Checks that nobody but this user may enter a folder. A link is none of this user's, whatever it
 * leads to: whoever owns it can have it lead elsewhere a moment later.
 *
 * @throws Error when it is not there, is another user's, is open to others, or is a link.
 */
export async function checkOwnFolder(folder: string): Promise<void> {
  const found = await lstat(folder);
  if (!found.isDirectory()) throw new Error(`${folder} is not a folder`);
  if (found.uid !== process.getuid?.()) throw new Error(`${folder} belongs to another user`);
  if ((found.mode & 0o077) !== 0) throw new Error(`${folder} is open to others`);
}
