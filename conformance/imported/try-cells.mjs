/** The process in which cells are tried: a message { folder, file, record, cell } is answered with how it went. */
import { absent, cells, Subject } from './cells.mjs';

let subject;
let path;

process.on('message', async ({ folder, file, record, cell }) => {
  if (path !== file) {
    subject = new Subject(folder, file, record);
    path = file;
  }
  const started = performance.now();
  const result = {};
  try {
    const note = await cells[cell](subject);
    if (note === absent) result.absent = true;
    else Object.assign(result, { ok: true, note });
  } catch (error) {
    Object.assign(result, { ok: false, note: `${error.message}`.split('\n')[0].slice(0, 300) });
    if (process.env.STACK) console.error(error);
  }
  process.send({ ...result, seconds: Math.round((performance.now() - started) / 100) / 10 });
});
