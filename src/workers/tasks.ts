import * as apiRequestTask from './api-request.ts';
import * as apiStreamTask from './api-stream.ts';
import * as assumeRoleTask from './assume-role.ts';
import * as fetchDocumentTask from './fetch-document.ts';
import { beat, beating } from './heartbeats.ts';
import { standBack } from './priority.ts';
import * as verifyTask from './verify.ts';

// The file that every worker thread runs: one export a task.
export const apiRequest = beating(apiRequestTask.apiRequest);
export const apiStream = beating(apiStreamTask.apiStream);
export const assumeRole = beating(assumeRoleTask.assumeRole);
export const fetchDocument = beating(fetchDocumentTask.fetchDocument);
export const verify = beating(verifyTask.verify);

standBack();
beat();

/** Answers once the thread has loaded everything that the tasks need. */
export function ping(): true {
  return true;
}
