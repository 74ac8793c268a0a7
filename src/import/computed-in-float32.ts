import { toFloat32 } from '../checkpoint/to-float32.ts';
import { toAttribute } from '../graph/attribute.ts';
import { argumentsOf } from '../graph/schema/arguments.ts';
import { dataTypes } from '../graph/tensor.ts';
import type { ImportPass } from './pass.ts';

const halves = ['float16', 'bfloat16'] as const;
const isHalf = (dtype: string | undefined): boolean => halves.some((half) => half === dtype);
const halfNumbers: readonly number[] = halves.map((half) => dataTypes[half].onnx);

/**
 * Widens what is computed in float16 or bfloat16: constants, inputs, outputs, and what is cast to it. Training and
 * scores are in float32; the precision is given again by quantizing. A file of ours that is in float16 stays so.
 */
export const computedInFloat32: ImportPass = (graph, { notes }) => {
  let found = false;
  for (const value of [...graph.constants.values()]) {
    if (!isHalf(value.dtype)) continue;
    found = true;
    graph.setConstant(value, toFloat32(value.name, value.tensor!));
  }
  for (const node of graph.nodes) {
    if (node.op === 'Cast' && halfNumbers.includes(argumentsOf<'Cast'>(node).to)) {
      node.setAttribute('to', toAttribute(dataTypes.float32.onnx));
      found = true;
    }
    for (const [name, attribute] of node.attributes) {
      if (attribute.kind !== 'tensor' || !isHalf(attribute.value.dtype)) continue;
      node.setAttribute(name, { ...attribute, value: toFloat32(name, attribute.value) });
    }
    for (const output of node.outputs) if (output && isHalf(output.dtype)) output.dtype = 'float32';
  }
  for (const input of graph.inputs) {
    if (!isHalf(input.dtype)) continue;
    found = true;
    input.dtype = 'float32';
  }
  if (found) {
    notes.push('it computes in float16, and is taken in float32: quantize --dtype fp16 gives float16 again');
  }
};
