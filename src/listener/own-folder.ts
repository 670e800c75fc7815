import { mkdir, stat } from 'node:fs/promises';

/**
 * Makes a folder that nobody but this user may enter, if it is not there yet.
 *
 * @throws Error when it cannot be made, is another user's, or is open to others.
 */
export async function ownFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const { uid, mode } = await stat(folder);
  if (uid !== process.getuid?.()) throw new Error(`${folder} belongs to another user`);
  if ((mode & 0o077) !== 0) throw new Error(`${folder} is open to others`);
}
