import { type Call, type Operand, Prepacked, type Program, type Weight } from './program.ts';

const optionalWeight = (operand: Operand | undefined): Weight | undefined =>
  operand?.kind === 'weight' ? operand : undefined;

/** A call's list of whole numbers, or a single one; undefined when it isn't one known before the run. */
function constant(operand: Operand | undefined): number | number[] | undefined {
  if (operand?.kind === 'int') return operand.value;
  if (operand?.kind !== 'list') return undefined;
  const values = operand.items.map((item) => (item.kind === 'int' ? item.value : Number.NaN));
  return values.some(Number.isNaN) ? undefined : values;
}

/** Operator -> the XNNPACK layer it can be, from its arguments. */
const layers: Record<string, { run: string; pack(args: Call['args']): Prepacked | undefined }> = {
  'aten::linear': {
    run: 'prepacked::linear_clamp_run',
    pack([, weight, bias]) {
      if (weight?.kind !== 'weight' || bias?.kind === 'variable') return undefined;
      return new Prepacked('LinearOpContext', weight, optionalWeight(bias));
    },
  },
  'aten::conv2d': {
    run: 'prepacked::conv2d_clamp_run',
    pack([, weight, bias, ...rest]) {
      const window = rest.map(constant);
      if (weight?.kind !== 'weight' || bias?.kind === 'variable' || window.length !== 4) return undefined;
      if (window.some((entry) => entry === undefined)) return undefined;
      return new Prepacked('Conv2dOpContext', weight, optionalWeight(bias), window as (number | number[])[]);
    },
  },
};

/**
 * Replaces float Linears and convolutions whose weights are constants by XNNPACK's layers, in place, as
 * PyTorch's `optimize_for_mobile` does. Quantized layers stay as they are; so does a layer whose weight is
 * computed.
 */
export function prepackForXnnpack(program: Program): void {
  for (const call of program.calls) {
    const layer = layers[call.operator];
    const packed = layer?.pack(call.args);
    if (layer && packed)
      Object.assign(call, { operator: layer.run, args: [call.args[0]!, packed], keywords: [] });
  }
}
