import { expect, it } from 'vitest';
import { gradientRules } from '../src/autodiff/rules.ts';
import { tfliteLowering } from '../src/export/tflite/rules.ts';
import { torchscriptLowering } from '../src/export/torchscript/rules.ts';
import { costRules } from '../src/graph/cost.ts';
import { identityRules } from '../src/graph/eliminate-identities.ts';
import { opCases } from '../src/graph/op-cases/cases.ts';
import { type OpName, opNames, signaturesOf } from '../src/graph/schema/signature.ts';
import { randomOps } from '../src/graph/schema/traits.ts';
import { shapeRules } from '../src/graph/shapes/rules.ts';
import { dependencyRules } from '../src/prune/dependency-rules/rules.ts';
import { rewriteRules } from '../src/prune/rewrite-rules.ts';
import { roleRules } from '../src/prune/roles.ts';
import { keptInFloat32 } from '../src/quantize/float16-policy.ts';
import { layerMatchers } from '../src/quantize/layer.ts';
import { quantizedMatchers } from '../src/quantize/match-quantized.ts';

const has = (table: { readonly [O in OpName]?: unknown }) => (op: OpName) => (table[op] ? 'x' : '');

const float16 = (op: OpName) => {
  const why = keptInFloat32[op];
  return why ? `float32, ${why}` : shapeRules[op] ? 'float16' : 'float32';
};

const quantize = (op: OpName) =>
  [layerMatchers[op] && 'replaced', quantizedMatchers[op] && 'int8 layer'].filter(Boolean).join(', ');

/** Column -> what stands in it for an op. */
const columns: Record<string, (op: OpName) => string> = {
  op: (op) => `\`${op}\``,
  versions: (op) =>
    signaturesOf(op)
      .map(({ since }) => since)
      .join(', '),
  shape: has(shapeRules),
  cost: has(costRules),
  gradient: has(gradientRules),
  dependency: has(dependencyRules),
  rewrite: has(rewriteRules),
  role: has(roleRules),
  identity: has(identityRules),
  random: has(randomOps),
  float16,
  quantize,
  TorchScript: has(torchscriptLowering),
  TFLite: has(tfliteLowering),
};

const intro = `# What is known of each op

Written by \`test/ops-page.test.ts\` from the rule tables; \`npx vitest run test/ops-page.test.ts --update\` writes it anew.

- **versions**: the operator sets in which the op takes its arguments in another way, from 7 on
  (\`graph/schema/generated/operators.ts\`). An older one than the first leaves its shapes unknown.
- **shape**, **cost**: dtypes and shapes of its results (\`graph/shapes/\`), its multiply-accumulates (\`graph/cost.ts\`).
- **gradient**: it can be trained through (\`autodiff/\`).
- **dependency**: channels can be pruned around it (\`prune/dependency-rules/\`); around any other op they stay.
  **rewrite**: numbers in it follow the channels (\`prune/rewrite-rules.ts\`). **role**: what its operands are to it, by
  which importance scores them (\`prune/roles.ts\`).
- **identity**: it is left out where it does nothing (\`graph/eliminate-identities.ts\`). **random**: it is neither
  computed beforehand nor merged with its like (\`graph/schema/traits.ts\`).
- **float16**: the type it computes in, in a float16 model, and why it stays in float32 (\`quantize/float16-policy.ts\`).
- **quantize**: a layer that int8 replaces (\`quantize/layer.ts\`), or one that is int8 (\`quantize/match-quantized.ts\`).
- **TorchScript**: it is written to \`.pt\` and \`.ptl\` (\`export/torchscript/\`).
- **TFLite**: it is written to \`.tflite\` (\`export/tflite/\`).
`;

function page(): string {
  const heads = Object.keys(columns);
  const rows = [...opNames].map((op) => heads.map((head) => columns[head]!(op)));
  const widths = heads.map((head, i) => Math.max(head.length, ...rows.map((row) => row[i]!.length)));
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, i) => cell.padEnd(widths[i]!)).join(' | ')} |`;
  return `${intro}\n${[line(heads), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n')}\n`;
}

it('docs/ops.md says what the tables know', async () => {
  await expect(page()).toMatchFileSnapshot('../docs/ops.md');
});

it('every op with a rule has a case', () => {
  const covered = new Set<string>(opCases.map(({ op }) => op));
  const tables = [shapeRules, costRules, gradientRules, dependencyRules, rewriteRules, torchscriptLowering];
  const missing = opNames.filter((op) => !covered.has(op) && tables.some((table) => table[op]));
  expect(missing).toEqual([]);
});
