// Reads each ONNX file named on standard input (pairs "from<TAB>to") and writes it again.
import { readFileSync } from 'node:fs';
import { loadOnnx, saveOnnx } from 'pqv-mobile/node';

const pairs = readFileSync(0, 'utf8').trim().split('\n');
let failed = 0;
for (const pair of pairs) {
  const [from, to] = pair.split('\t');
  try {
    saveOnnx(loadOnnx(from), to);
  } catch (error) {
    failed += 1;
    console.log(`FAILED ${from}: ${error.message}`);
  }
}
process.exitCode = failed ? 1 : 0;
