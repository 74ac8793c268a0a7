/**
 * Tries every cell of cells.mjs on the files that make.py wrote.
 *
 *     node conformance/imported/check_imported.mjs FOLDER [--only PART] [--exporter PART] [--cells a,b]
 *         [--again | --failed | --tried] [--docs FILE]
 *
 * Results are kept in FOLDER/results.json: what is there is not tried again, unless `--again` says so, or
 * `--failed` for what did not hold; with `--tried` nothing is tried. Each cell has three minutes in another process, so that a crash is its failure only.
 */
import { fork } from 'node:child_process';
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { cells } from './cells.mjs';
import { page, report } from './report.mjs';

const allowedSeconds = 180;

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    only: { type: 'string', default: '' },
    exporter: { type: 'string', default: '' },
    cells: { type: 'string' },
    again: { type: 'boolean', default: false },
    failed: { type: 'boolean', default: false },
    tried: { type: 'boolean', default: false },
    results: { type: 'string' },
    docs: { type: 'string' },
  },
});
const folder = positionals[0];
const cellNames = Object.keys(cells);
const wanted = values.cells ? cellNames.filter((cell) => values.cells.split(',').includes(cell)) : cellNames;
const resultsPath = values.results ?? join(folder, 'results.json');
const corpus = JSON.parse(readFileSync(join(folder, 'corpus.json'), 'utf8'));
const results = existsSync(resultsPath) ? JSON.parse(readFileSync(resultsPath, 'utf8')) : {};

let child;

/** Asks the other process, which is started when there is none. */
function tryCell(request) {
  child ??= fork(join(import.meta.dirname, 'try-cells.mjs'));
  const asked = child;
  return new Promise((resolve) => {
    const finish = (result) => {
      clearTimeout(timer);
      asked.removeAllListeners();
      resolve(result);
    };
    const lost = (note) => {
      child = undefined;
      asked.kill('SIGKILL');
      finish({ ok: false, note, seconds: 0 });
    };
    const timer = setTimeout(() => lost(`not done in ${allowedSeconds} s`), allowedSeconds * 1000);
    asked.once('message', finish);
    asked.once('exit', (code, signal) => lost(`the process ended: ${signal ?? `exit code ${code}`}`));
    asked.send(request);
  });
}

function save() {
  writeFileSync(`${resultsPath}.tmp`, JSON.stringify(results, null, 1));
  renameSync(`${resultsPath}.tmp`, resultsPath);
}

const due = (result) =>
  !values.tried && (!result || values.again || (values.failed && !result.ok && !result.absent));

const entries = [];
for (const [file, record] of Object.entries(corpus)) {
  const { model, exporter, error } = record;
  if (error || !model.includes(values.only) || !exporter.includes(values.exporter)) continue;
  if (values.tried && !results[file]) continue;
  results[file] ??= {};
  for (const cell of wanted.filter((name) => due(results[file][name]))) {
    const result = await tryCell({ folder, file, record, cell });
    results[file][cell] = result;
    save();
    if (!result.ok && !result.absent) console.log(`${file} ${cell}: ${result.note}`);
  }
  entries.push({ file, model, exporter, results: results[file] });
}
child?.removeAllListeners();
child?.kill();

const made = report(entries, wanted);
console.log(`\n${made.reasons.join('\n')}\n\n${made.models}\n\n${made.exporters}\n\n${made.seconds}`);
if (values.docs) {
  const unwritten = Object.entries(corpus).filter(([, { error }]) => error);
  const lines = unwritten.map(([file, { error }]) => `\`${file}\`: ${error}`);
  writeFileSync(values.docs, page(made, lines));
}
const { good, asked } = made.total;
console.log(`${good} passed, ${asked - good} failed`);
process.exitCode = good === asked && asked > 0 ? 0 : 1;
