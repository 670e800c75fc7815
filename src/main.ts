import { setFlagsFromString } from 'node:v8';
import { run } from './commands/program.ts';

// Memory is dearer than the last microsecond on a node full of pods: without these the young
// generations alone grow to several times what the sessions take. Worker threads inherit them.
setFlagsFromString('--max-semi-space-size=2');
setFlagsFromString('--optimize-for-size');

await run(process.argv.slice(2));
