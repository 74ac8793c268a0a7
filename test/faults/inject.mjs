// Preloaded (node --import) into a command: counts what it does to files, and at a given one kills it or fills the disk.
// PQV_FAULT is `rename:7` (killed before the seventh rename), `renamed:7` (after it), `write:7` (the disk is full from the
// seventh write on), or `count`: then the counts are written to the file PQV_FAULT_COUNTS, and which writes were the
// first and the last into a file that was opened.
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

const [kind, at] = (process.env.PQV_FAULT ?? 'count').split(':');
const counts = { rename: 0, write: 0 };
/** First and last write since a descriptor was opened; a file that is opened again is another. */
const files = [];
const open = new Map();
const { openSync, renameSync, writeSync, writeFileSync } = fs;

const kill = () => {
  process.kill(process.pid, 'SIGKILL');
  for (;;);
};

fs.renameSync = (...args) => {
  counts.rename++;
  if (kind === 'rename' && counts.rename === Number(at)) kill();
  const result = renameSync(...args);
  if (kind === 'renamed' && counts.rename === Number(at)) kill();
  return result;
};

fs.openSync = (...args) => {
  const descriptor = openSync(...args);
  open.delete(descriptor);
  return descriptor;
};

fs.writeSync = (...args) => {
  counts.write++;
  const known = open.get(args[0]);
  if (known) known.last = counts.write;
  else {
    const file = { first: counts.write, last: counts.write };
    open.set(args[0], file);
    files.push(file);
  }
  if (kind === 'write' && counts.write >= Number(at)) {
    throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' });
  }
  return writeSync(...args);
};

syncBuiltinESMExports();

process.on('exit', () => {
  const { PQV_FAULT_COUNTS: file } = process.env;
  if (kind === 'count' && file) writeFileSync(file, JSON.stringify({ ...counts, files }));
});
