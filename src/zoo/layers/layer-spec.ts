import { UserError } from '../../common/errors.ts';
import { quoted } from '../../common/quoted.ts';
import type { Builder } from '../../graph/builder.ts';
import type { Value } from '../../graph/graph.ts';

export interface NormSpec {
  kind: 'layer' | 'rms';
  epsilon: number;
}

/**
 * A layer argument as configurations write it: a name, a class reference, or a class with some of its
 * arguments bound (Python's `functools.partial`).
 */
interface LayerArgument {
  name: string;
  kwargs: Record<string, unknown>;
}

/** @throws UserError when the value is none of the three forms */
export function layerArgument(argument: string, value: unknown): LayerArgument {
  if (typeof value === 'string') return { name: value, kwargs: {} };
  if (typeof value === 'object' && value !== null) {
    const { ref, partial, kwargs } = value as Record<string, unknown>;
    if (typeof ref === 'string') return { name: ref, kwargs: {} };
    if (typeof partial === 'string') {
      return { name: partial, kwargs: (kwargs ?? {}) as Record<string, unknown> };
    }
  }
  throw new UserError(`${argument} is ${quoted(value)}; it must be the name of a layer`);
}

const plain = (name: string) => name.replaceAll('_', '').toLowerCase();

const norms: Record<string, NormSpec> = {
  layernorm: { kind: 'layer', epsilon: 1e-6 },
  layernormfp32: { kind: 'layer', epsilon: 1e-6 },
  rmsnorm: { kind: 'rms', epsilon: 1e-6 },
  rmsnormfp32: { kind: 'rms', epsilon: 1e-6 },
};

/** The norm that `norm_layer` names (timm's names, spelled freely); absent: LayerNorm with epsilon 1e-6. */
export function normSpec(argument: string, value: unknown): NormSpec {
  if (value === undefined || value === null || value === '') return norms.layernorm!;
  const { name, kwargs } = layerArgument(argument, value);
  const key = plain(name);
  const spec = Object.hasOwn(norms, key) ? norms[key] : undefined;
  if (!spec) throw new UserError(`${argument} "${name}" is not supported; use LayerNorm or RmsNorm`);
  const { eps, ...rest } = kwargs;
  const other = Object.keys(rest)[0];
  if (other) throw new UserError(`${argument}: argument "${other}" of ${name} is not supported`);
  return typeof eps === 'number' ? { ...spec, epsilon: eps } : spec;
}

type Activation = (b: Builder, x: Value) => Value;

const sigmoidGated =
  (factor: number): Activation =>
  (b, x) => {
    const scaled = factor === 1 ? x : b.op('Mul', [x, b.scalar(factor)], {}, 'scaled');
    return b.op('Mul', [x, b.op('Sigmoid', [scaled], {}, 'sigmoid')], {}, 'act');
  };
const single =
  (op: string, attributes = {}): Activation =>
  (b, x) =>
    b.op(op, [x], attributes, 'act');

/** Activations by timm's names. */
export const activations = {
  gelu: single('Gelu'),
  gelutanh: single('Gelu', { approximate: 'tanh' }),
  quickgelu: sigmoidGated(1.702),
  silu: sigmoidGated(1),
  relu: single('Relu'),
  sigmoid: single('Sigmoid'),
  tanh: single('Tanh'),
  hardswish: single('HardSwish'),
  mish: single('Mish'),
} satisfies Record<string, Activation>;

export type ActivationName = keyof typeof activations;

/** The activation that `act_layer` names; absent: `fallback`. */
export function activationName(
  argument: string,
  value: unknown,
  fallback: ActivationName = 'gelu',
): ActivationName {
  if (value === undefined || value === null || value === '') return fallback;
  const { name } = layerArgument(argument, value);
  const key = plain(name) === 'swish' ? 'silu' : plain(name);
  if (Object.hasOwn(activations, key)) return key as ActivationName;
  throw new UserError(
    `${argument} "${name}" is not supported; use one of ${Object.keys(activations).join(', ')}`,
  );
}
