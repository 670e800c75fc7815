import type { Results } from './results.ts';

/** In one line: when, on what, which program, and beside whom a run was made. */
export function subjectLine({ startedAt, machine, subject, quick }: Results): string {
  const { program, peer, traced } = subject;
  const versions = [
    `Node.js ${machine.node.replace(/^v/, '')}`,
    machine.redis === undefined ? 'no Redis' : `Redis ${machine.redis}`,
    machine.wrk === undefined ? `autocannon ${machine.autocannon}` : `wrk ${machine.wrk}`,
    ...(machine.nginx === undefined ? [] : [`nginx ${machine.nginx}`]),
  ];
  return [
    `${startedAt.slice(0, 16).replace('T', ' ')} UTC`,
    `${machine.cpu}, ${machine.cores} ${machine.cores === 1 ? 'core' : 'cores'}`,
    versions.join(', '),
    program === undefined ? `commit ${machine.commit ?? 'unknown'}` : `program ${program}`,
    ...(peer === undefined ? [] : [`peer ${peer.url} on ${peer.simulator}`]),
    ...(quick ? ['quick run'] : []),
    ...(traced ? ['traced: the figures have the cost of collecting every trace in them'] : []),
  ].join(' · ');
}
