import { UserError } from '../common/errors.ts';
import { Builder } from '../graph/builder.ts';
import type { Graph, Node, Value } from '../graph/graph.ts';
import { inferNode } from '../graph/infer.ts';
import { replaceValue } from '../graph/replace.ts';
import { rowOf } from '../graph/schema/signature.ts';
import { shapeRules } from '../graph/shapes/rules.ts';
import { dataTypes, type Tensor } from '../graph/tensor.ts';
import { capturedValues, subgraphs } from '../graph/traversal.ts';
import type { Engine, Tensors } from '../runtime/session.ts';
import { castTensors } from './cast.ts';
import { keptInFloat32 } from './float16-policy.ts';
import { largestMagnitudes } from './ranges.ts';
import { assertFullPrecision, recordQuantization } from './record.ts';

export interface Float16Options {
  /**
   * `float16` (default): weights and arithmetic. `float32`: only the weights are stored as float16, and
   * widened when the model is loaded: half the file, arithmetic as before.
   */
  compute?: FloatType;
  /** Element type of the model's float inputs and outputs; default float32. */
  io?: FloatType;
  /** Model inputs to find overflows with: what passes the range of float16 on them stays in float32. */
  calibration?: Iterable<Tensors> | AsyncIterable<Tensors>;
}

type FloatType = 'float16' | 'float32';

/** Values that come within a factor of two of the largest float16, 65504, stay in float32. */
const widest = 65504 / 2;

/**
 * A copy of the graph in float16: weights and arithmetic, with float32 islands around norms, softmax and
 * sums, around control flow and ops whose types we don't know, and around whatever overflows on `calibration`.
 * Weights that float16 can't hold stay float32 and make islands too.
 *
 * @throws UserError when the model is quantized already, or the options contradict
 */
export async function toFloat16(
  engine: Engine,
  source: Graph,
  { compute = 'float16', io = 'float32', calibration }: Float16Options = {},
): Promise<Graph> {
  assertFullPrecision(source);
  const { graph } = source.clone();
  const halves = await halfWeights(engine, graph);
  if (compute === 'float32') {
    if (io === 'float16' || calibration) {
      throw new UserError('with float32 compute only weights become float16: no float16 io, no calibration');
    }
    storeAsHalf(graph, halves);
  } else {
    const magnitudes = calibration ? await largestMagnitudes(engine, graph, calibration) : [];
    const wide = new Set<Value>();
    for (const [name, magnitude] of magnitudes) if (!(magnitude < widest)) wide.add(graph.find(name)!);
    new HalfConversion(graph, halves, wide).run(io);
  }
  recordQuantization(graph, { dtype: 'fp16', compute });
  return graph;
}

/** The float32 constants that float16 can hold, in float16. */
async function halfWeights(engine: Engine, graph: Graph): Promise<Map<Value, Tensor>> {
  const floats = [...graph.constants.values()].filter((value) => value.dtype === 'float32');
  const tensors = floats.map((value) => value.tensor!);
  const halves = await castTensors(engine, tensors, 'float16');
  const finite = (half: Tensor) => (half.data as Uint16Array).every((bits) => (bits & 0x7fff) < 0x7c00);
  return new Map(floats.map((value, i) => [value, halves[i]!] as const).filter(([, half]) => finite(half)));
}

/** Constants as float16 with a Cast before their readers; scalars and the like are not worth one. */
function storeAsHalf(graph: Graph, halves: ReadonlyMap<Value, Tensor>): void {
  for (const [value, half] of halves) {
    if (half.size < 64) continue;
    const stored = graph.addConstant(graph.uniqueName(`${value.name}_half`), half);
    const b = new Builder(graph, graph.nodes[0]);
    const widened = b.op('Cast', [stored], { to: dataTypes.float32.onnx }, `${value.name}_float32`);
    graph.replaceUses(value, widened);
    graph.removeConstant(value);
    graph.rename(stored, value.name);
  }
}

class HalfConversion {
  readonly #graph: Graph;
  readonly #halves: ReadonlyMap<Value, Tensor>;
  readonly #wide: ReadonlySet<Value>;
  /** A value in the other precision, once somebody needed it. */
  readonly #twins = new Map<Value, Value>();

  constructor(graph: Graph, halves: ReadonlyMap<Value, Tensor>, wide: ReadonlySet<Value>) {
    this.#graph = graph;
    this.#halves = halves;
    this.#wide = wide;
  }

  run(io: FloatType): void {
    const graph = this.#graph;
    for (const input of graph.inputs) {
      if (io === 'float16' && input.dtype === 'float32') input.dtype = 'float16';
    }
    for (const node of [...graph.nodes]) {
      const dtype: FloatType = this.#isIsland(node) ? 'float32' : 'float16';
      node.inputs.forEach((value, i) => {
        if (value && isFloat(value)) node.setInput(i, this.#as(value, dtype, node));
      });
      const captured = new Set(capturedValues(node));
      for (const inner of subgraphs(node)) this.#widenCaptured(inner, captured, node);
      if (dtype === 'float16') inferNode(node);
    }
    for (const output of new Set(graph.outputs)) {
      if (!isFloat(output) || output.dtype === io) continue;
      const cast = new Builder(graph).op('Cast', [output], { to: dataTypes[io].onnx });
      const readers = [...output.uses].filter(({ node }) => node !== cast.producer);
      replaceValue(graph, output, cast);
      for (const { node, index } of readers) node.setInput(index, output);
      cast.producer!.setInput(0, output);
    }
    const twins = [...this.#twins];
    graph.removeDead();
    for (const [value, twin] of twins) {
      if (value.isConstant && !graph.constants.has(value.name) && graph.constants.has(twin.name)) {
        graph.rename(twin, value.name);
      }
    }
  }

  #isIsland(node: Node): boolean {
    if (rowOf(keptInFloat32, node) || !rowOf(shapeRules, node)) return true;
    if (node.outputs.some((value) => value && this.#wide.has(value))) return true;
    return node.inputs.some(
      (value) =>
        value?.dtype === 'float32' &&
        (this.#wide.has(value) || (value.isConstant && !this.#halves.has(value))),
    );
  }

  /** What a subgraph reads of the graph around it, in float32: its own nodes stay as they are. */
  #widenCaptured(inner: Graph, captured: ReadonlySet<Value>, reader: Node): void {
    const widened = (value: Value | undefined) =>
      value?.dtype === 'float16' && captured.has(value) ? this.#as(value, 'float32', reader) : value;
    for (const node of inner.nodes) {
      node.inputs.forEach((value, i) => {
        node.setInput(i, widened(value));
      });
      for (const nested of subgraphs(node)) this.#widenCaptured(nested, captured, reader);
    }
    inner.outputs.splice(0, inner.outputs.length, ...inner.outputs.map((value) => widened(value)!));
  }

  #as(value: Value, dtype: FloatType, reader: Node): Value {
    if (value.dtype === dtype) return value;
    let twin = this.#twins.get(value);
    if (!twin) {
      const hint = `${value.name}_${dtype}`;
      twin = value.isConstant
        ? this.#graph.addConstant(this.#graph.uniqueName(hint), this.#halves.get(value)!)
        : new Builder(this.#graph, reader).op('Cast', [value], { to: dataTypes[dtype].onnx }, hint);
      this.#twins.set(value, twin);
    }
    return twin;
  }
}

const isFloat = (value: Value) => value.dtype === 'float32' || value.dtype === 'float16';
