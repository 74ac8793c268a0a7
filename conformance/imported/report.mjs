/** The corpus' results as tables: model by cell, exporter by cell, and what went wrong how often. */

const tally = (results) => {
  const asked = results.filter((result) => result && !result.absent);
  return { good: asked.filter(({ ok }) => ok).length, asked: asked.length };
};

const shown = ({ good, asked }) => (asked === 0 ? '' : `${good}/${asked}`);

function rows(entries, cellNames, keyOf) {
  return [...grouped(entries, keyOf)].map(([key, files]) => [
    key,
    ...cellNames.map((cell) => shown(tally(files.map(({ results }) => results[cell])))),
  ]);
}

function grouped(entries, keyOf) {
  const groups = new Map();
  for (const entry of entries) groups.set(keyOf(entry), [...(groups.get(keyOf(entry)) ?? []), entry]);
  return groups;
}

function markdown(head, body) {
  const line = (cells) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...body.map(line)].join('\n');
}

/** Reasons by how often they are given; numbers and names in them are left out so that they add up. */
function reasons(entries, cellNames) {
  const counts = new Map();
  for (const { file, results } of entries) {
    for (const cell of cellNames) {
      const result = results[cell];
      if (!result || result.ok || result.absent) continue;
      const key = `${cell}: ${result.note.replace(/"[^"]*"/g, '"…"').replace(/\d[\d.,e+-]*/g, '#')}`;
      const found = counts.get(key) ?? { count: 0, example: file, note: result.note };
      counts.set(key, { ...found, count: found.count + 1 });
    }
  }
  return [...counts].sort(([, a], [, b]) => b.count - a.count);
}

/** @param entries { file, model, exporter, results } */
export function report(entries, cellNames) {
  const total = tally(entries.flatMap(({ results }) => cellNames.map((cell) => results[cell])));
  const seconds = cellNames.map((cell) => {
    const times = entries.flatMap(({ results }) => results[cell]?.seconds ?? []);
    return `${cell} ${(times.reduce((sum, time) => sum + time, 0) / Math.max(1, times.length)).toFixed(1)}`;
  });
  return {
    models: markdown(
      ['model', ...cellNames],
      rows(entries, cellNames, ({ model }) => model),
    ),
    exporters: markdown(
      ['exporter', ...cellNames],
      rows(entries, cellNames, ({ exporter }) => exporter),
    ),
    reasons: reasons(entries, cellNames).map(
      ([key, { count, example, note }]) => `${count} x ${key.split(':')[0]}: ${note} (${example})`,
    ),
    seconds: `mean seconds of a cell: ${seconds.join(', ')}`,
    total,
  };
}

/** The page docs/imported.md. */
export function page({ models, exporters, total }, unwritten) {
  return `# Imported files

One model of each of timm's modules (narrow and shallow, random weights), and of transformers' vision models
(\`hf_\`), written by PyTorch's TorchScript exporter (\`ts\`) and by its newer one (\`dynamo\`) for several operator sets,
with a dynamic (\`d\`) or fixed (\`f\`) batch; and what ONNX Runtime's optimizer (levels 1 and 2: \`ort1d\`, \`ort2d\`) and its
converter to float16 (\`half17d\`) make of such files. On every file: it loads; computes what ONNX Runtime makes of the file as
it is, to 1e-4 (float16: 5e-3); has the multiply-accumulates of the same model built natively, to 1 %, where that is read; a quarter of its channels
can be pruned by magnitude and by gradients, taking 30 % of its parameters where that much goes of the native one, of three of them the very channels that the native one loses;
training makes the loss fall; it can be quantized to int8 and to FP16 and be written as TorchScript.

Files that onnxruntime quantized have a judge of their own, \`conformance/check_foreign.py\` ([quantization.md](quantization.md#files-that-another-tool-quantized)).

This page is written by \`conformance/imported/check_imported.mjs\`. ${total.good} of ${total.asked} cells hold
(${((100 * total.good) / total.asked).toFixed(1)} %).

## By model

${models}

## By exporter

${exporters}
${unwritten.length ? `\n## What the exporters themselves could not write\n\n${unwritten.map((line) => `- ${line}`).join('\n')}\n` : ''}`;
}
