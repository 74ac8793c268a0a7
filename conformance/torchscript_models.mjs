// Exports models for check_torchscript.py. Standard input: JSON [{"model": FOLDER, "backend"?: NAME, "files": [PATH]}],
// each file .pt or .ptl by its ending; with a backend the model is quantized to dynamic int8 first.
import { readFileSync } from 'node:fs';
import { saveLite, saveTorchScript } from '../dist/export/torchscript/files.node.js';
import { quantizeDynamic } from '../dist/quantize/dynamic.js';
import { onnxruntime } from '../dist/runtime/onnxruntime.node.js';
import { loadModel } from '../dist/zoo/load.node.js';

for (const { model, backend, files } of JSON.parse(readFileSync(0, 'utf8'))) {
  const dense = await loadModel(model);
  const graph = backend ? await quantizeDynamic(onnxruntime, dense, { backend }) : dense;
  for (const file of files) (file.endsWith('.ptl') ? saveLite : saveTorchScript)(graph, file);
}
