import { quoted } from '../../common/quoted.ts';
import {
  type Constant,
  type ContentsTensor,
  counted,
  type FileContents,
  readNotes,
  weightsByType,
} from '../file-contents.ts';
import { readTflite, type StoredModel, type StoredTensor } from './read.ts';

/**
 * What a `.tflite` file of any tool holds. A number of the file that is no sense (an operator without a name, a constant of
 * another size than its shape) is a remark, not an error.
 * @throws UserError when it is no such file, or does not hold together
 */
export function tfliteContents(bytes: Uint8Array, where: string): FileContents {
  const model = readTflite(bytes, where);
  const [main] = model.graphs as [StoredModel['graphs'][number]];
  const operators = model.graphs.flatMap((graph) => graph.operators);
  const [names] = model.signatures.values();
  const described = (i: number) => describe(main.tensors[i]!, names?.get(i));
  return {
    writtenBy: model.description || null,
    inputs: main.inputs.map(described),
    outputs: main.outputs.map(described),
    operators: counted(operators.map(({ name }) => name)),
    weights: weightsByType(constantsOf(model)),
    ...readNotes(model.metadata),
    remarks: [...remarks(model)],
  };
}

const describe = (
  { name, dtype, shape, scales }: StoredTensor,
  signature: string | undefined,
): ContentsTensor => ({
  name: signature ?? name,
  tensor: name,
  dtype,
  shape: [...shape],
  quantization: scales ? { scale: scales.first, zeroPoint: scales.zeroPoint } : null,
});

const tensorsOf = ({ graphs }: StoredModel): StoredTensor[] => graphs.flatMap(({ tensors }) => tensors);

/** Each buffer once. */
function constantsOf(model: StoredModel): Iterable<Constant> {
  const constants = new Map<number, Constant>();
  for (const { buffer, dtype, bytes, scales } of tensorsOf(model)) {
    if (bytes > 0 && !constants.has(buffer))
      constants.set(buffer, { dtype, bytes, scales: scales?.count ?? 0 });
  }
  return constants.values();
}

function* remarks(model: StoredModel): Generator<string> {
  const others = [
    ...new Set(
      model.graphs
        .flatMap(({ operators }) => operators)
        .flatMap(({ name, builtin }) => (builtin ? [] : name)),
    ),
  ];
  if (others.length > 0)
    yield `not built into LiteRT: ${others.slice(0, 8).map(quoted).join(', ')}; it runs only where these are linked in`;
  if (model.graphs.length > 1)
    yield `${model.graphs.length} graphs; inputs and outputs are those of the first`;
  const keys = [...model.signatures.keys()];
  if (keys.length > 1) yield `${keys.length} signatures: ${keys.slice(0, 8).map(quoted).join(', ')}`;
  const tensors = tensorsOf(model);
  const elsewhere = tensors.filter((tensor) => tensor.elsewhere).length;
  if (elsewhere > 0) yield `the numbers of ${elsewhere} constants are in another file, and not counted`;
  const odd = tensors.filter(
    ({ bytes, expectedBytes }) => bytes > 0 && expectedBytes !== undefined && bytes !== expectedBytes,
  );
  if (odd.length > 0) {
    const { name, bytes, expectedBytes } = odd[0]!;
    yield `${odd.length} constants have another size than their shapes, the first ${quoted(name)}: ${bytes} bytes, not ${expectedBytes}`;
  }
  if (model.metadata.has('TFLITE_METADATA'))
    yield 'its TFLITE_METADATA (labels and normalization for Android) is not read';
}
