/** A task that no worker thread could do; it says nothing of what the task was about. */
export class WorkerError extends Error {
  override readonly name = 'WorkerError';
  readonly code = 'ERR_WORKER';
}
