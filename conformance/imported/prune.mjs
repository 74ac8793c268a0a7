/**
 * Prunes imported files for check_pruned.py. A request a line: { file, output, ratios }. OUTPUT gets `dense`, what became of the
 * file, and a folder for each ratio, with what is left and pruning.json; the answer is a line too: { ratios } that something could
 * be taken at, with what prune's own check found, or { error }.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { loadModel, onnxruntime, prune, saveModel } from 'pqv-mobile/node';

async function pruned({ file, output, ratios }) {
  const graph = await loadModel(file);
  saveModel(graph, join(output, 'dense'));
  const made = {};
  for (const ratio of ratios) {
    const { graph: left, kept, check } = await prune(onnxruntime, graph, { ratio });
    const folder = join(output, String(ratio));
    saveModel(left, folder);
    writeFileSync(join(folder, 'pruning.json'), JSON.stringify({ kept }));
    made[ratio] = check;
  }
  return { ratios: made };
}

for await (const line of createInterface({ input: process.stdin })) {
  const answer = await pruned(JSON.parse(line)).catch(({ message }) => ({ error: message.split('\n')[0] }));
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
