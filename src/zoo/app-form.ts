import * as z from 'zod';
import { UserError } from '../common/errors.ts';
import { parseJsonAs } from '../common/json.ts';
import { Builder } from '../graph/builder.ts';
import type { Graph } from '../graph/graph.ts';
import { soleReader } from '../graph/patterns.ts';
import { Tensor } from '../graph/tensor.ts';
import { isClassifier, modelInfo } from './model-info.ts';

/** What a file takes and gives, of what apps would otherwise have to compute themselves. */
export const appOptions = z.strictObject({
  input: z.enum(['normalized', 'pixels']).default('normalized').meta({
    description:
      'what the file takes: float [N, C, H, W] prepared by the app, or uint8 pixels [N, H, W, C], which it normalizes itself',
  }),
  scores: z.enum(['logits', 'probabilities']).default('logits').meta({
    description: 'what the file gives: scores as the model has them, or their softmax',
  }),
});

/** What is noted in the graph's metadata, so that the model can be read from the file again. */
const key = 'pqv.app';

/**
 * A copy of a model that prepares its pixels itself, or ends in a softmax: `(x / 255 - mean) / std` of the uint8 input as one
 * product and one sum a channel. Resizing and cropping stay the app's.
 * @throws UserError on a model of which that can't be told: several inputs, no classes
 */
export function inAppForm(source: Graph, { input, scores }: z.output<typeof appOptions>): Graph {
  if (input === 'normalized' && scores === 'logits') return source;
  const { graph } = source.clone();
  if (input === 'pixels') takePixels(graph);
  if (scores === 'probabilities') giveProbabilities(graph);
  graph.metadata.set(key, JSON.stringify({ input, scores }));
  return graph;
}

/** The inverse, in place: our models take prepared images and give logits. */
export function outOfAppForm(graph: Graph): void {
  const note = graph.metadata.get(key);
  if (note === undefined) return;
  const { input, scores: given } = parseJsonAs(appOptions, note, `the model's note "${key}"`);
  graph.metadata.delete(key);
  if (input === 'pixels') takePrepared(graph);
  if (given === 'probabilities') giveLogits(graph);
}

/** What `takePixels` puts before a model. */
const preparation = ['Cast', 'Transpose', 'Mul', 'Add'];

function takePrepared(graph: Graph): void {
  const [pixels] = graph.inputs;
  let end = pixels;
  for (const op of preparation) {
    const node = end && soleReader(graph, end);
    if (node?.op !== op)
      throw new UserError('it is said to take pixels, but does not prepare them as this tool writes that');
    end = node.output();
  }
  const { name } = pixels!;
  graph.rename(pixels!, graph.uniqueName(`${name}.pixels`));
  graph.replaceUses(end!, graph.addInput(name, 'float32', end!.shape));
  graph.removeDead();
  graph.removeConstant(pixels!);
}

function giveLogits(graph: Graph): void {
  const [scores] = graph.outputs;
  const last = scores?.producer;
  if (last?.op !== 'Softmax')
    throw new UserError('it is said to give probabilities, but does not end in a Softmax');
  graph.outputs[0] = last.input(0) as (typeof graph.outputs)[0];
  graph.removeDead();
}

function takePixels(graph: Graph): void {
  const [images, ...others] = graph.inputs.filter((value) => !value.isConstant);
  const { mean, std, inputSize } = modelInfo(graph).preprocessing;
  const [channels, height, width] = inputSize;
  const { dtype = 'float32', name = '' } = images ?? {};
  if (!images || others.length > 0 || images.shape?.length !== 4) {
    throw new UserError('--input pixels is for models with one input of images [N, C, H, W]');
  }
  const batch = images.shape[0]!;
  graph.rename(images, graph.uniqueName(`${name}.normalized`));
  const pixels = graph.addInput(name, 'uint8', [batch, height, width, channels]);
  const b = new Builder(graph, graph.nodes[0]);
  const each = (of: (c: number) => number) =>
    Tensor.float32(
      [channels, 1, 1],
      Float32Array.from({ length: channels }, (_, c) => of(c)),
    );
  const floats = b.op('Transpose', [b.op('Cast', [pixels], { to: 1 })], { perm: [0, 3, 1, 2] });
  // Behind the Transpose an engine has a whole channel for each number; before it three pixels, a tenth as fast.
  const scaled = b.op('Mul', [floats, each((c) => 1 / (255 * std[c]!))]);
  const normalized = b.op('Add', [scaled, each((c) => -mean[c]! / std[c]!)]);
  graph.replaceUses(images, dtype === 'float32' ? normalized : b.op('Cast', [normalized], { to: 10 }));
  graph.removeConstant(images);
}

function giveProbabilities(graph: Graph): void {
  const [logits] = graph.outputs;
  if (!logits || !isClassifier(graph)) {
    throw new UserError('--scores probabilities is for classifiers, and this model has no classes');
  }
  const b = new Builder(graph);
  const floats = logits.dtype === 'float16' ? b.op('Cast', [logits], { to: 1 }) : logits;
  graph.outputs[0] = b.op('Softmax', [floats], { axis: -1 }, 'probabilities') as (typeof graph.outputs)[0];
}
