import { toFloat32 } from '../checkpoint/to-float32.ts';
import { UserError } from '../common/errors.ts';
import { Random } from '../common/random.ts';
import { elementCount, Tensor } from '../graph/tensor.ts';
import type { CheckpointNotes } from './checkpoint-notes.ts';
import { fillNormal, fillUniform } from './random-fill.ts';
import { type Positions, type ResampleStyle, resampledPositions } from './resample-positions.ts';

/** How timm initializes a parameter; `normal` and `uniform` are centred on 0. */
export type Initializer =
  | { kind: 'constant'; value: number }
  /** timm's `trunc_normal_(std)` cuts at +-2, a hundred deviations for its 0.02: a plain normal. */
  | { kind: 'normal'; std: number }
  /** `trunc_normal_tf_`: a standard normal cut at +-2 and then scaled. */
  | { kind: 'truncatedNormal'; std: number }
  | { kind: 'uniform'; bound: number }
  /** Parts along the first axis, equally long. */
  | { kind: 'halves'; first: Initializer; second: Initializer }
  /** Computed, row-major: a table of positions, or angles drawn from `random`. */
  | { kind: 'computed'; values: (random: Random) => ArrayLike<number> };

/** Element types of a state dict: int64 for counters and indices. */
export type StateType = 'float32' | 'int64';

export interface StateOptions {
  /** Default float32. */
  dtype?: StateType;
  /** Another name of the same tensor, which was asked for before. */
  sameAs?: string;
  /** What the table is of, where it is one of positions. */
  positions?: Positions;
}

/**
 * Where a builder gets the tensors of its state dict from, parameters, buffers and counters alike:
 * random numbers, a checkpoint, nothing but shapes.
 */
export type ParameterSource = (
  name: string,
  shape: readonly number[],
  initializer: Initializer,
  options?: StateOptions,
) => Tensor;

/** Zeros that take no memory until someone reads them: for shapes and counts. */
export const zeroParameters: ParameterSource = (_name, shape, _initializer, { dtype = 'float32' } = {}) =>
  new Tensor(dtype, shape, () => Tensor.zeros(dtype, shape).data);

/**
 * Random parameters as timm initializes them, each drawn when it is first read. A parameter is a
 * function of seed and name alone, so the order does not matter.
 */
export function randomParameters(seed: number): ParameterSource {
  return (name, shape, initializer, { dtype = 'float32' } = {}) =>
    new Tensor(dtype, shape, () => {
      const data = new Float32Array(elementCount(shape));
      fill(data, initializer, [seed, ...new TextEncoder().encode(name)]);
      return dtype === 'int64' ? BigInt64Array.from(data, BigInt) : data;
    });
}

function fill(data: Float32Array, initializer: Initializer, keys: readonly number[]): void {
  switch (initializer.kind) {
    case 'constant':
      data.fill(initializer.value);
      return;
    case 'normal':
      fillNormal(data, initializer.std, Number.POSITIVE_INFINITY, keys);
      return;
    case 'truncatedNormal':
      fillNormal(data, initializer.std, 2, keys);
      return;
    case 'uniform':
      fillUniform(data, initializer.bound, keys);
      return;
    case 'computed':
      data.set(initializer.values(new Random(...keys)));
      return;
    case 'halves': {
      const middle = data.length / 2;
      fill(data.subarray(0, middle), initializer.first, [...keys, 0]);
      fill(data.subarray(middle), initializer.second, [...keys, 1]);
    }
  }
}

/** Tensors that a checkpoint may lack before that is said. */
const missingLimit = 1000;

/**
 * Parameters of a checkpoint, which must fit the architecture; float16, bfloat16 and float64 become float32, and
 * tables of positions of another size are resampled. It may lack counters, which are then 0, and further names of
 * one tensor. Call `finish` after building.
 * @param notes have the checkpoint's name; what was done to the tensors is added
 */
export function checkpointParameters(
  tensors: ReadonlyMap<string, Tensor>,
  notes: CheckpointNotes,
  style: ResampleStyle = 'timm',
): { source: ParameterSource; finish(): void } {
  const { where } = notes;
  const used = new Set<string>();
  const missing: string[] = [];
  const lacking = () => new UserError(`${where} lacks ${listed(missing)}, which the architecture expects`);
  return {
    source(name, shape, initializer, { dtype = 'float32', sameAs, positions } = {}) {
      const tensor = tensors.get(name);
      if (!tensor) {
        if (!sameAs && !isCounter(shape, dtype)) missing.push(`${name} [${shape}]`);
        // A model of which so much is missing need not be built to its end.
        if (missing.length === missingLimit) throw lacking();
        return zeroParameters(name, shape, initializer, { dtype });
      }
      used.add(name);
      if (dtype === 'float32') notes.stored(tensor.dtype);
      if (`${tensor.shape}` !== `${shape}`) {
        const resampled = positions && resampledPositions(name, tensor, shape, positions, style);
        if (!resampled) {
          throw new UserError(
            `${where}: tensor "${name}" has shape [${tensor.shape}], the architecture expects [${shape}]`,
          );
        }
        notes.resampled(name, resampled.from, resampled.to);
        return resampled.tensor;
      }
      if (dtype === 'float32') return toFloat32(name, tensor);
      if (tensor.dtype === dtype) return tensor;
      throw new UserError(`${where}: tensor "${name}" is ${tensor.dtype}, the architecture expects ${dtype}`);
    },
    /** @throws UserError when the checkpoint lacks tensors or has some the architecture does not know */
    finish() {
      if (missing.length) throw lacking();
      const unexpected = [...tensors].filter(([name]) => !used.has(name));
      if (unexpected.length) {
        const names = unexpected.map(([name, { shape }]) => `${name} [${shape}]`);
        throw new UserError(`${where} has ${listed(names)}, which the architecture does not expect`);
      }
    },
  };
}

const isCounter = (shape: readonly number[], dtype: StateType) => shape.length === 0 && dtype === 'int64';

const listed = (names: readonly string[]): string =>
  `tensor${names.length > 1 ? 's' : ''} ${names.slice(0, 3).join(', ')}${names.length > 3 ? ` and ${names.length - 3} more` : ''}`;
