import { constants } from 'node:fs';
import { access, open, readdir, rm, rmdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { makeFolder } from '../make-folder.ts';

/** Left in the folder where tcp_migrate_req was off, so that it can be again. */
const MIGRATION_MARK = 'tcp_migrate_req.was-off';

/** A folder that cannot be the admin socket's; `message` says why. */
export class AdminFolderError extends Error {
  override readonly name = 'AdminFolderError';
  readonly code = 'ERR_ADMIN_FOLDER';
}

/**
 * The folder of the admin socket. It has to belong to the server's user and be closed to all
 * others, and a server that is not root cannot make it in /run itself.
 */
export class AdminFolder {
  readonly #path: string;

  /** @param socket - Path of the admin socket. */
  constructor(socket: string) {
    this.#path = dirname(socket);
  }

  /**
   * Makes the folder, or makes it fit: its owner is `uid`, its mode 0700.
   *
   * @throws AdminFolderError when it cannot be made, is a link, or has folders in it: to close
   *   /run itself, say, would be the end of the node.
   */
  async prepare(uid: number): Promise<void> {
    try {
      await makeFolder(this.#path);
      const entries = await readdir(this.#path, { withFileTypes: true });
      if (entries.some((entry) => entry.isDirectory())) throw new Error('it holds other folders');
      const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW } = constants;
      const folder = await open(this.#path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
      try {
        await folder.chown(uid, (await folder.stat()).gid);
        await folder.chmod(0o700);
      } finally {
        await folder.close();
      }
    } catch (error) {
      throw new AdminFolderError(
        `${this.#path} cannot be the admin socket's folder: ${(error as Error).message}`,
      );
    }
  }

  /** Remembers that tcp_migrate_req was off. */
  async markMigration(): Promise<void> {
    await writeFile(join(this.#path, MIGRATION_MARK), '', { mode: 0o600 });
  }

  /** Whether tcp_migrate_req was off before. */
  async migrationMarked(): Promise<boolean> {
    return access(join(this.#path, MIGRATION_MARK)).then(
      () => true,
      () => false,
    );
  }

  /**
   * Takes away the sockets and marks in the folder, and the folder where nothing else is in it.
   *
   * @returns Whether it is gone, and was there.
   */
  async remove(): Promise<boolean> {
    const entries = await readdir(this.#path, { withFileTypes: true }).catch(() => undefined);
    if (entries === undefined) return false;
    for (const entry of entries) {
      const ours = entry.isSocket() || entry.name === MIGRATION_MARK;
      if (ours) await rm(join(this.#path, entry.name), { force: true });
    }
    return rmdir(this.#path).then(
      () => true,
      () => false,
    );
  }
}
