import type { StraightThrough } from '../../autodiff/backward.ts';
import { gradientOpset } from '../../autodiff/backward.ts';
import { type TorchScriptModule, torchScriptModule } from '../../export/torchscript/script.ts';
import { Builder } from '../../graph/builder.ts';
import type { Graph, Value } from '../../graph/graph.ts';
import { raiseOpset } from '../../graph/raise-opset.ts';
import { dataTypes } from '../../graph/tensor.ts';
import { type FakeQuantization, fakeQuantize } from '../../quantize/fake.ts';
import { addDropPath, type DropPath } from '../drop-path.ts';
import { blockOutputs } from '../features.ts';

/** What a module computes in training beyond the model itself. */
export interface ModuleOptions {
  /** Give what the blocks hand on as outputs too, behind the model's own. */
  readonly features: boolean;
  /** Largest probability that a residual branch is left out; 0 for none. */
  readonly dropPath: number;
  /** The int8 numbers it is trained for. */
  readonly int8: FakeQuantization | undefined;
}

/** A model as TorchScript that is trained as `trainingStep` trains it. */
export interface TrainableModule extends TorchScriptModule {
  /** The branches that can be left out: what the module takes behind the images, `[N, 1]` each. */
  readonly paths: readonly DropPath[];
}

/**
 * Writes the forward pass of a training step as a TorchScript module, whose gradients PyTorch finds by itself. The model
 * is not changed.
 * @throws UserError when an op has no TorchScript lowering, or as `addDropPath` and `fakeQuantize`
 */
export function trainableModule(model: Graph, { features, dropPath, int8 }: ModuleOptions): TrainableModule {
  const { graph } = model.clone();
  if (features) graph.outputs.push(...blockOutputs(graph));
  if (int8) raiseOpset(graph, gradientOpset);
  const paths = dropPath > 0 ? addDropPath(graph, dropPath) : [];
  const detached = int8 ? passStraight(graph, fakeQuantize(graph, int8)) : new Set<Value>();
  return { ...torchScriptModule(graph, { detached }), paths };
}

/**
 * Writes what `backward` is told into the graph: `made` becomes `made + (of - of) * where`, in which no gradient goes
 * through `made` or the second `of`.
 * @returns the values that are to be detached
 */
function passStraight(graph: Graph, straight: ReadonlyMap<Value, StraightThrough>): Set<Value> {
  const detached = new Set<Value>();
  for (const [made, { of, where }] of straight) {
    const readers = [...made.uses];
    const b = new Builder(graph, readers[0]?.node);
    const cut = (value: Value) => {
      const copy = b.op('Identity', [value], {}, `${value.name}_detached`);
      detached.add(copy);
      return copy;
    };
    const nothing = b.op('Sub', [of, cut(of)]);
    const passed = where
      ? b.op('Mul', [nothing, b.op('Cast', [where(b)], { to: dataTypes.float32.onnx })])
      : nothing;
    const result = b.op('Add', [cut(made), passed]);
    for (const { node, index } of readers) node.setInput(index, result);
  }
  graph.sort();
  return detached;
}
