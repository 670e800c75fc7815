import t from 'tap';
import { connectionsWithin, maxOpenFiles } from '../../src/listener/open-files.ts';

t.test('the limit of open files, as the kernel tells it', async (t) => {
  const limits = (soft: string) =>
    [
      'Limit                     Soft Limit           Hard Limit           Units     ',
      'Max processes             96119                96119                processes ',
      `Max open files            ${soft.padEnd(21)}1048576              files     `,
      'Max locked memory         8388608              8388608              bytes     ',
    ].join('\n');
  t.equal(maxOpenFiles(limits('1024')), 1_024);
  t.equal(maxOpenFiles(limits('1048576')), 1_048_576);
  t.equal(maxOpenFiles(limits('unlimited')), Number.POSITIVE_INFINITY);
  t.equal(maxOpenFiles(''), Number.POSITIVE_INFINITY, 'nobody says so');
  t.ok(maxOpenFiles() > 0, 'this process has one');
});

t.test('connections leave files to the broker', async (t) => {
  t.equal(connectionsWithin(Number.POSITIVE_INFINITY), Number.POSITIVE_INFINITY);
  t.equal(connectionsWithin(65_536), 65_024);
  t.equal(connectionsWithin(1_024), 512);
  t.equal(connectionsWithin(256), 128, 'half of few');
});
