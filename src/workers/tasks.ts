import * as apiRequestTask from './api-request.ts';
import * as apiStreamTask from './api-stream.ts';
import * as assumeRoleTask from './assume-role.ts';
import * as fetchDocumentTask from './fetch-document.ts';
import { startHeartbeats, withHeartbeats } from './heartbeats.ts';
import { lowerPriority } from './priority.ts';
import * as verifyTask from './verify.ts';

// The file that every worker thread runs: one export a task.
export const apiRequest = withHeartbeats(apiRequestTask.apiRequest);
export const apiStream = withHeartbeats(apiStreamTask.apiStream);
export const assumeRole = withHeartbeats(assumeRoleTask.assumeRole);
export const fetchDocument = withHeartbeats(fetchDocumentTask.fetchDocument);
export const verify = withHeartbeats(verifyTask.verify);

lowerPriority();
startHeartbeats();

/** Answers once the thread has loaded everything that the tasks need. */
export function ping(): true {
  return true;
}
