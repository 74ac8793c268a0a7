// int8 files as they ship, on every kind of processor: largest difference from FP32's outputs over the largest
// output, in percent, of one image. The default weights must stay within 5 %, in every scheme and form.
//     node conformance/check_processors.mjs          a DeiT-Tiny of 3 blocks
//     node conformance/check_processors.mjs --full   DeiT-Tiny and DeiT-Base whole (hours: emulation)
// Emulated processors need qemu, Debian's packages and npm; where these can't be had, says so and goes on.
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { forms } from 'pqv-mobile/node';
import { writeModels } from './processors.mjs';

const limit = 5;
const here = fileURLToPath(new URL('.', import.meta.url));
const runner = join(here, 'processors-run.cjs');
const emulators = process.env.PQV_PROCESSORS ?? join(here, '../.processors');
const full = process.argv.includes('--full');
/** Emulation of a DeiT-Base takes minutes a file: there one form stands for the others, whose integers are the same. */
const models = full
  ? {
      'DeiT-Tiny': { architecture: 'deit_tiny_patch16_224', modelArgs: {}, emulatedForms: forms },
      'DeiT-Base': { architecture: 'deit_base_patch16_224', modelArgs: {}, emulatedForms: ['fused'] },
    }
  : {
      'DeiT-Tiny, 3 blocks': {
        architecture: 'deit_tiny_patch16_224',
        modelArgs: { depth: 3 },
        emulatedForms: forms,
      },
    };

const direct = (engine, ...flags) => ({ command: process.execPath, args: [...flags, runner, engine] });
const emulated = (cpu) => ({
  command: join(here, 'processors.sh'),
  args: [emulators, cpu, runner, 'onnxruntime-node'],
  emulated: true,
});
/** Node 20 has it behind a flag, which later ones don't know. */
const relaxedFlags = process.versions.node.startsWith('20.') ? ['--experimental-wasm-relaxed-simd'] : [];
const engines = {
  native: direct('onnxruntime-node'),
  WebAssembly: direct('onnxruntime-web'),
  'relaxed SIMD': direct('onnxruntime-web+relaxed', ...relaxedFlags),
};
const made = spawnSync(join(here, 'processors.sh'), [emulators], { encoding: 'utf8' });
if (made.status === 0) {
  for (const cpu of ['haswell', 'nehalem', 'cortex-a76', 'cortex-a72']) engines[cpu] = emulated(cpu);
} else {
  console.log(`emulated processors SKIPPED: ${made.stderr.trim().split('\n').at(-1)}`);
}

/** Outputs by file, from one process. */
function outputsOf({ command, args }, files) {
  const text = execFileSync(command, [...args, ...files], {
    encoding: 'utf8',
    maxBuffer: 1 << 28,
    cwd: join(here, '..'),
  });
  const lines = text.trim().split('\n');
  return new Map(lines.map((line) => JSON.parse(line)).map(({ file, outputs }) => [file, outputs]));
}

const distance = (found, exact) =>
  (100 * Math.max(...found.map((value, i) => Math.abs(value - exact[i])))) / Math.max(...exact.map(Math.abs));

let failed = 0;
let checked = 0;
const head = ['model', 'weights', 'backends', 'scheme', 'form', ...Object.keys(engines)];
const rows = [];
for (const [name, { architecture, modelArgs, emulatedForms }] of Object.entries(models)) {
  const folder = mkdtempSync(join(tmpdir(), 'pqv-processors-'));
  try {
    const { reference, files } = await writeModels(architecture, folder, { modelArgs });
    const cells = files.map(() => []);
    for (const [place, engine] of Object.entries(engines)) {
      const tried = files.filter(({ form }) => !engine.emulated || emulatedForms.includes(form));
      const outputs = outputsOf(engine, [reference, ...tried.map(({ file }) => file)]);
      files.forEach(({ file }, i) => {
        const found = outputs.get(file);
        cells[i].push(found && distance(found, outputs.get(reference)));
      });
      const largest = files.map(({ promised }, i) => (promised && cells[i].at(-1)) || 0);
      console.error(`${name}, ${place}: at most ${Math.max(...largest).toFixed(1)} %`);
    }
    files.forEach(({ backends, weights, scheme, form, promised }, i) => {
      const marked = cells[i].map((value) => {
        if (value === undefined) return '-';
        const wrong = promised && !(value <= limit);
        if (promised) checked += 1;
        if (wrong) failed += 1;
        return `${value.toFixed(1)}${wrong ? ' !' : ''}`;
      });
      rows.push([name, weights, backends.join(', '), scheme, form, ...marked]);
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
const line = (cells) => `| ${cells.join(' | ')} |`;
console.log([line(head), line(head.map((_, i) => (i < 5 ? '---' : '--:'))), ...rows.map(line)].join('\n'));
console.log(
  failed ? `${failed} of ${checked} are farther than ${limit} % from FP32` : `all ${checked} agree`,
);
process.exit(failed ? 1 : 0);
