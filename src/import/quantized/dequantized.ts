import { UserError } from '../../common/errors.ts';
import type { Builder } from '../../graph/builder.ts';
import type { Node, Value } from '../../graph/graph.ts';

/** Integers as a quantized operator is given them: `real = (numbers - zeroPoint) * scale`. */
export interface Quantities {
  readonly numbers: Value;
  readonly scale: Value;
  readonly zeroPoint: Value | undefined;
}

const damaged = (node: Node, what: string): UserError =>
  new UserError(`${node.label}: ${what}; the file is damaged, quantize the model it was made from again`);

/** The inputs of a node that are numbers, their scale and their zero point. @throws UserError as `checked` */
export function quantitiesOf(
  node: Node,
  [numbers, scale, zeroPoint]: readonly [number, number, number],
): Quantities {
  const input = (index: number, what: string): Value => {
    const value = node.inputs[index];
    if (!value) throw damaged(node, `it has no ${what} (input ${index})`);
    return value;
  };
  const of = input(numbers, 'operand');
  return checked(node, {
    numbers: of,
    scale: input(scale, `scale of ${of.name}`),
    zeroPoint: node.inputs[zeroPoint],
  });
}

const integers = /^u?int(2|4|8|16|32)$|^float8/;

/**
 * Numbers whose scale and zero point can be theirs.
 * @throws UserError when a scale is no float or has no elements, or a zero point is of another type or length
 */
export function checked(node: Node, quantities: Quantities): Quantities {
  const { numbers, scale, zeroPoint } = quantities;
  if (numbers.dtype && !integers.test(numbers.dtype)) {
    throw damaged(node, `${numbers.name} is ${numbers.dtype}, not integers`);
  }
  checkedScale(node, scale, false);
  if (!zeroPoint) return quantities;
  const types = [numbers.dtype, zeroPoint.dtype];
  if (types.every(Boolean) && types[0] !== types[1]) {
    throw damaged(node, `the zero point ${zeroPoint.name} is ${types[1]}, ${numbers.name} is ${types[0]}`);
  }
  checkedLength(node, scale, zeroPoint);
  return quantities;
}

/**
 * @param divides whether numbers are rounded to steps of it, rather than multiplied with it
 * @throws UserError when it is no float or has no elements
 */
export function checkedScale(node: Node, scale: Value, divides = true): void {
  if (scale.dtype && !scale.dtype.startsWith('float') && scale.dtype !== 'bfloat16') {
    throw damaged(node, `the scale ${scale.name} is ${scale.dtype}, not float32`);
  }
  if (scale.tensor?.size === 0) throw damaged(node, `the scale ${scale.name} has no elements`);
  const bad =
    scale.tensor?.dtype === 'float32' &&
    scale.tensor.floats.find((number) => !(Number.isFinite(number) && (number > 0 || !divides)));
  if (typeof bad === 'number') throw damaged(node, `the scale ${scale.name} holds ${bad}`);
}

/** @throws UserError when a zero point is not as long as its scale, and is not one for all */
export function checkedLength(node: Node, scale: Value, zeroPoint: Value): void {
  const [scales, zeros] = [scale.tensor?.size, zeroPoint.tensor?.size];
  if (scales !== undefined && zeros !== undefined && scales !== zeros && zeros !== 1) {
    throw damaged(
      node,
      `the zero point ${zeroPoint.name} has ${zeros} elements, the scale ${scale.name} ${scales}`,
    );
  }
}

/** The reals that integers stand for. @param axis that scales lie along, where there are several */
export function dequantized(b: Builder, { numbers, scale, zeroPoint }: Quantities, axis: number): Value {
  const operands = zeroPoint ? [numbers, scale, zeroPoint] : [numbers, scale];
  const several = (scale.tensor?.size ?? 1) > 1 || (scale.shape ?? []).some((length) => length !== 1);
  return b.op('DequantizeLinear', operands, several ? { axis } : undefined, 'dequantized');
}
