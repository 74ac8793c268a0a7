import {
  Call,
  Float,
  Global,
  instance,
  Persistent,
  type Pickled,
  Tuple,
  tuple,
  writePickle,
} from '../../checkpoint/torch/pickle.ts';
import { storageClasses } from '../../checkpoint/torch/storage-types.ts';
import { writeZip, type ZipSource } from '../../checkpoint/torch/zip.ts';
import { UserError } from '../../common/errors.ts';
import type { Graph } from '../../graph/graph.ts';
import { elementCount, type Tensor } from '../../graph/tensor.ts';
import type { PackedLinear, Prepacked, Stored } from './program.ts';

const orderedDict = new Call(new Global('collections', 'OrderedDict'), tuple());

/** An int[] in a pickle: a plain list would be a list of anything, which operators refuse. */
export const intListPickle = (values: readonly number[]): Pickled =>
  new Call(new Global('torch.jit._pickle', 'build_intlist'), tuple([...values]));

/** Tensors of one pickle: what the pickle says of them, and the archive entries that hold their elements. */
export class TensorStore {
  /** Folder of the elements inside the archive: `data` beside `data.pkl`. */
  readonly folder: string;
  readonly entries: ZipSource[] = [];
  readonly #keys = new Map<Tensor, string>();

  constructor(folder: string) {
    this.folder = folder;
  }

  /** A dense tensor. The same `Tensor` object is stored once. */
  tensor(tensor: Tensor, requiresGrad = false): Pickled {
    const storage = tensor.dtype === 'string' ? undefined : storageClasses.get(tensor.dtype);
    if (!storage) throw new UserError(`PyTorch has no ${tensor.dtype} tensors; can't export this graph`);
    const layout = this.#layout(tensor, storage);
    return new Call(
      new Global('torch._utils', '_rebuild_tensor_v2'),
      tuple(...layout, requiresGrad, orderedDict),
    );
  }

  /** A quantized Linear, which PyTorch packs as it reads it. */
  packed({ weight, scales, zeroPoints, bias }: PackedLinear): Pickled {
    const type = new Global('__torch__.torch.classes.quantized', 'LinearPackedParamsBase');
    const quantized = new Call(
      new Global('torch._utils', '_rebuild_qtensor'),
      tuple(...this.#layout(weight, 'QInt8Storage'), this.#scheme(scales, zeroPoints), false, orderedDict),
    );
    return instance(type, tuple(quantized, bias ? this.tensor(bias) : null));
  }

  /** A layer of XNNPACK's, which PyTorch packs as it reads it. Its output is not clamped. */
  prepacked({ context, weight, bias, window }: Prepacked): Pickled {
    const type = new Global('__torch__.torch.classes.xnnpack', context);
    const settings = window.map((entry) => (typeof entry === 'number' ? entry : intListPickle(entry)));
    const packed = [this.tensor(weight.tensor), bias ? this.tensor(bias.tensor) : null, ...settings];
    return instance(type, tuple(...packed, null, null));
  }

  /** Anything a module holds. */
  stored(item: Stored): Pickled {
    if (item.kind === 'packed') return this.packed(item);
    return item.kind === 'prepacked' ? this.prepacked(item) : this.tensor(item.tensor);
  }

  #scheme(scales: readonly number[], zeroPoints: readonly number[]): Pickled {
    if (scales.length === 1) {
      return tuple(new Global('torch', 'per_tensor_affine'), new Float(scales[0]!), zeroPoints[0]!);
    }
    const shape = [scales.length];
    const vector = (storage: string, data: Float64Array | BigInt64Array): Pickled => {
      const key = this.#entry(() => new Uint8Array(data.buffer as ArrayBuffer));
      const layout = [this.#storage(storage, key, data.length), 0, tuple(...shape), tuple(1)];
      return new Call(new Global('torch._utils', '_rebuild_tensor_v2'), tuple(...layout, false, orderedDict));
    };
    return tuple(
      new Global('torch', 'per_channel_affine'),
      vector('DoubleStorage', Float64Array.from(scales)),
      vector('LongStorage', BigInt64Array.from(zeroPoints, BigInt)),
      0,
    );
  }

  /** Storage, offset, size and stride. */
  #layout(tensor: Tensor, storage: string): Pickled[] {
    let key = this.#keys.get(tensor);
    if (key === undefined) {
      key = this.#entry(() => tensor.bytes);
      this.#keys.set(tensor, key);
    }
    const { shape } = tensor;
    const strides = shape.map((_, i) => elementCount(shape.slice(i + 1)));
    return [this.#storage(storage, key, tensor.size), 0, new Tuple(shape), new Tuple(strides)];
  }

  #storage(type: string, key: string, count: number): Pickled {
    return new Persistent(tuple('storage', new Global('torch', type), key, 'cpu', count));
  }

  #entry(bytes: () => Uint8Array): string {
    const key = String(this.entries.length);
    this.entries.push({ name: `${this.folder}/${key}`, bytes });
    return key;
  }
}

/** A text or pickle of an archive. */
export function file(name: string, content: string | Pickled): ZipSource {
  const bytes = typeof content === 'string' ? new TextEncoder().encode(content) : writePickle(content);
  return { name, bytes: () => bytes };
}

/**
 * The operator version: 10 is the newest that PyTorch 1.13 to 2.13 accept, and the first whose `gelu`
 * knows the tanh approximation.
 */
const operatorVersion = '10\n';

/**
 * The pieces of a PyTorch archive, computed as they are asked for: weights are read one by one and can
 * be gone over again. What we know of the model (preprocessing, classes, history) travels in
 * `extra/pqv.json`, which `torch.jit.load(..., _extra_files)` gives back.
 */
export function archive(graph: Graph, entries: readonly ZipSource[]): Iterable<Uint8Array> {
  const notes = Object.fromEntries([...graph.metadata].filter(([key]) => key !== 'pqv.parameters'));
  const all = [
    ...entries,
    file('extra/pqv.json', JSON.stringify(notes)),
    file('byteorder', 'little'),
    file('.data/version', operatorVersion),
  ];
  const sources = all.map(({ name, bytes }) => ({ name: `model/${name}`, bytes }));
  return { [Symbol.iterator]: () => writeZip(sources) };
}

/** A name as part of a Python identifier. */
export const identifier = (name: string): string => name.replaceAll(/[^A-Za-z0-9_]/g, '_');

/** The model's class, by the graph's name. */
export const className = (graph: Graph): string => {
  const name = identifier(graph.name);
  return /^[A-Za-z]/.test(name) ? name : `Model_${name}`;
};
