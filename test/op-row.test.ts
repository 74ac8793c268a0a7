import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { beforeAll, expect, it } from 'vitest';
import { scratch } from './command.ts';
import { scratchCheckout } from './scratch-checkout.ts';

const at = scratch();

/** What of the checkout's own is asked about `Asinh`, an op that no table here knows. */
const questions = `
import { backward } from './dist/autodiff/backward.js';
import { exportTorchScript } from './dist/export/torchscript/script.js';
import { Builder } from './dist/graph/builder.js';
import { Graph } from './dist/graph/graph.js';
import { Tensor } from './dist/graph/tensor.js';
import { findGroups } from './dist/prune/groups.js';
import { onnxruntime } from './dist/runtime/onnxruntime.node.js';
import { runOnce } from './dist/runtime/session.js';

const graph = new Graph();
const b = new Builder(graph);
const x = graph.addInput('x', 'float32', ['N', 2]);
const weight = (name, rows, columns) =>
  graph.addConstant(name, Tensor.float32([rows, columns], Array.from({ length: rows * columns }, (_, i) => i / 7)));
const hidden = b.op('Asinh', [b.op('MatMul', [x, weight('first', 2, 4)])]);
graph.outputs.push(b.op('MatMul', [hidden, weight('second', 4, 3)], {}, 'y'));
const { groups, unknownOps } = findGroups(graph);
const file = [...exportTorchScript(graph)].length > 0;
const shape = hidden.shape;
const { graph: training, values } = graph.clone();
const loss = new Builder(training).op('ReduceSum', [training.outputs[0]], { keepdims: 0 });
const gradient = backward(training, loss, [values.get(x)]).get(values.get(x));
training.outputs.splice(0, 1, gradient);
const found = await runOnce(onnxruntime, training, { x: Tensor.float32([1, 2], [0.5, -1]) });
console.log(JSON.stringify({
  shape,
  groups: groups.map(({ name, size }) => [name, size]),
  unknownOps,
  file,
  gradient: [...found[gradient.name].floats],
}));
`;

let folder: string;

beforeAll(() => {
  folder = at('checkout');
  scratchCheckout(folder, [
    {
      file: 'src/graph/schema/generated/operators.ts',
      find: 'export interface OpArguments {',
      replace: 'export interface OpArguments {\n  Asinh: {};',
    },
    {
      file: 'src/graph/schema/generated/operators.ts',
      find: '  Abs: [[',
      replace: "  Asinh: [[9, 'input', '', 'output']],\n  Abs: [[",
    },
    { file: 'src/graph/shapes/elementwise.ts', find: "'Abs Acos", replace: "'Asinh Abs Acos" },
    {
      file: 'src/autodiff/elementwise.ts',
      find: 'export const elementwise = {',
      replace: `export const elementwise = {
  Asinh: unary(({ g, x }, b) => b.op('Div', [g, b.op('Sqrt', [b.op('Add', [b.op('Mul', [x, x]), number(b, 1, x)])])])),`,
    },
    { file: 'src/prune/dependency-rules/elementwise.ts', find: "'Abs Acos", replace: "'Asinh Abs Acos" },
    {
      file: 'src/export/torchscript/rules-elementwise.ts',
      find: 'export const elementwiseRules = {',
      replace: "export const elementwiseRules = {\n  Asinh: unary('aten::asinh'),",
    },
  ]);
  writeFileSync(join(folder, 'questions.mjs'), questions);
}, 120_000);

it('an op is known to every stage by its rows', () => {
  const answer = execFileSync(process.execPath, [pathToFileURL(join(folder, 'questions.mjs')).pathname], {
    cwd: folder,
    encoding: 'utf8',
  });
  const { gradient, ...known } = JSON.parse(answer);
  expect(known).toEqual({ shape: ['N', 4], groups: [['first', 4]], unknownOps: [], file: true });
  const x = [0.5, -1];
  const first = (row: number, column: number) => (4 * row + column) / 7;
  const expected = x.map((_, i) =>
    [0, 1, 2, 3].reduce((sum, k) => {
      const before = x.reduce((total, value, row) => total + value * first(row, k), 0);
      const behind = [0, 1, 2].reduce((total, column) => total + (3 * k + column) / 7, 0);
      return sum + (first(i, k) * behind) / Math.sqrt(before * before + 1);
    }, 0),
  );
  gradient.forEach((slope: number, i: number) => {
    expect(slope).toBeCloseTo(expected[i]!, 4);
  });
});
