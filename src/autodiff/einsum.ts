import { UserError } from '../common/errors.ts';
import { einsumEquation, einsumLabels } from '../graph/schema/einsum.ts';
import { expandLike, type GradientRules, shapeOf, single, sumTo } from './rule.ts';

/**
 * The gradient of an operand is the Einsum of the output's gradient and the other operands to the operand's
 * labels. A label that only this operand has was summed over, so the gradient repeats along it.
 */
export const einsum = {
  Einsum: single((node, args, g, { builder: b, wants }) => {
    const labels = einsumLabels(node, args);
    if (!labels) throw new UserError(`${node.label}: no gradient where the rank of an operand is unknown`);
    return node.inputs.map((input, k) => {
      if (!input || !wants(k)) return undefined;
      const own = labels.inputs[k]!;
      if (new Set(own).size !== own.length) {
        throw new UserError(`${node.label}: no gradient for an operand of which it takes the diagonal`);
      }
      const others = node.inputs.filter((_, i) => i !== k);
      const terms = [labels.output, ...labels.inputs.filter((_, i) => i !== k)];
      const met = own.filter((label) => terms.some((term) => term.includes(label)));
      const equation = einsumEquation(terms, met);
      let gradient = b.op('Einsum', [g, ...others], { equation });
      const alone = [...own.keys()].filter((axis) => !met.includes(own[axis]!));
      if (alone.length) gradient = b.op('Unsqueeze', [gradient, b.ints(alone)]);
      const summed = sumTo(b, gradient, input);
      return shapeOf(summed).length ? expandLike(b, summed, input) : summed;
    });
  }),
} satisfies GradientRules;
