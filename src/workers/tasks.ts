import { beat } from './heartbeats.ts';

// The file that every worker thread runs: one export a task.
export { assumeRole } from './assume-role.ts';
export { fetchDocument } from './fetch-document.ts';
export { verify } from './verify.ts';

beat();

/** Answers once the thread has loaded everything that the tasks need. */
export function ping(): true {
  return true;
}
