/**
 * What is tried on an imported file, a cell each. A cell throws when it fails, with a line that says why;
 * it returns a note, or `absent` where the question does not arise.
 */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  describeModel,
  exportModelFile,
  finetune,
  loadModel,
  onnxruntime,
  parameterCount,
  prune,
  quantize,
  quantizedLayers,
  Random,
  runOnce,
  Tensor,
} from 'pqv-mobile/node';

const images = 8;
const classes = 10;
const ratio = 0.25;
/** Share of the parameters that pruning takes where it reaches everything it should. */
const share = 0.3;

/** How far outputs may be from the file's own: the largest difference over the largest value. */
const same = 1e-4;
/** What float16 leaves of a file's own outputs. */
const sameInHalf = 5e-3;
/** Euclidean distance over the norm: the rounding of random weights, layer after layer. */
const near = { int8: 0.3, fp16: 0.02 };

export const absent = Symbol('absent');

/** Models of which the file must lose the very channels that the native model loses. */
const alike = new Set(['vision_transformer', 'swin_transformer', 'pvt_v2']);

/** A file under trial: what it computes itself is computed once. */
export class Subject {
  #graph;
  #expected;

  /** @param record its entry in corpus.json */
  constructor(folder, file, record) {
    this.path = join(folder, file);
    this.native = join(folder, 'native', record.model);
    this.shape = [2, ...record.input];
    this.outputs = record.outputs;
    this.model = record.model;
    this.half = record.exporter.startsWith('half');
  }

  graph() {
    this.#graph ??= loadModel(this.path);
    return this.#graph;
  }

  /** The model as its library lays it out, where that is read, and gives one of the outputs that the file does. */
  async nativeGraph() {
    if (!existsSync(this.native)) return undefined;
    const native = await loadModel(this.native).catch(() => undefined);
    const own = (await this.graph()).outputs.map(({ shape }) => `${shape?.slice(1)}`);
    return native && own.includes(`${native.outputs[0].shape.slice(1)}`) ? native : undefined;
  }

  /** Outputs of a model, or of the file as it is. */
  async run(model) {
    const pixels = normals(this.shape, 1);
    if (model) return runOnce(onnxruntime, model, { [model.inputs[0].name]: pixels });
    const session = await onnxruntime.load(this.path);
    try {
      return await session.run({ [session.inputs[0]]: pixels });
    } finally {
      await session.dispose();
    }
  }

  async expected() {
    this.#expected ??= this.run();
    return this.#expected;
  }

  /** @throws Error when a model's outputs are further from the file's than `allowed` */
  async compare(model, allowed, distance) {
    const [found, expected] = [await this.run(model), await this.expected()];
    let worst = 0;
    for (const [name, tensor] of Object.entries(expected)) {
      const twin = found[name];
      if (`${twin?.shape}` !== `${tensor.shape}`) {
        throw new Error(`output ${name} is [${twin?.shape}], not [${tensor.shape}]`);
      }
      worst = Math.max(worst, distance(floatsOf(twin), tensor.floats));
    }
    if (!(worst <= allowed)) throw new Error(`outputs are ${worst.toExponential(1)} away`);
    return worst.toExponential(1);
  }
}

function normals(shape, seed) {
  const random = new Random(seed);
  const count = shape.reduce((a, b) => a * b, 1);
  return new Tensor(
    'float32',
    shape,
    Float32Array.from({ length: count }, () => random.normal()),
  );
}

const floatsOf = (tensor) => {
  if (tensor.dtype !== 'float32') throw new Error(`an output is ${tensor.dtype}, not float32`);
  return tensor.floats;
};

function largest(found, expected) {
  let difference = 0;
  let scale = 0;
  expected.forEach((value, i) => {
    difference = Math.max(difference, Math.abs(found[i] - value));
    scale = Math.max(scale, Math.abs(value));
  });
  return difference / scale;
}

function euclidean(found, expected) {
  let difference = 0;
  let norm = 0;
  expected.forEach((value, i) => {
    difference += (found[i] - value) ** 2;
    norm += value ** 2;
  });
  return Math.sqrt(difference / norm);
}

const finite = (tensors) => Object.values(tensors).every((tensor) => tensor.floats.every(Number.isFinite));

/** Images of noise, each of a class of its own as far as they go round. */
function dataset([, channels, height, width]) {
  const random = new Random(2);
  const pictures = Array.from({ length: images }, () =>
    Uint8Array.from({ length: height * width * channels }, () => random.below(256)),
  );
  const split = {
    name: 'noise',
    length: images,
    label: (index) => index % classes,
    id: (index) => `${index}`,
    read: async (index) => ({ width, height, channels, data: pictures[index] }),
  };
  const names = Array.from({ length: classes }, (_, index) => `class ${index}`);
  return { name: 'noise', classes: names, train: split, val: split };
}

async function* labelled(shape) {
  const labels = new Tensor(
    'int64',
    [shape[0]],
    BigInt64Array.from({ length: shape[0] }, (_, i) => BigInt(i)),
  );
  for (let batch = 0; batch < 2; batch++) yield { pixels: normals(shape, 3 + batch), labels };
}

async function taken(graph, importance, shape) {
  const data = importance === 'taylor' ? labelled(shape) : undefined;
  const { graph: pruned } = await prune(onnxruntime, graph, { ratio, importance, data });
  return { pruned, gone: parameterCount(graph) - parameterCount(pruned) };
}

/**
 * As much must go as goes of the native model, where that is less than what is asked of all. It is a share of the native
 * model's parameters where the file has more, since exporters write tables out.
 */
async function prunes(subject, importance) {
  const graph = await subject.graph();
  const { pruned, gone } = await taken(graph, importance, subject.shape);
  if (!finite(await subject.run(pruned))) throw new Error('the pruned model gives what is not finite');
  const native = await subject.nativeGraph();
  const whole = Math.min(parameterCount(graph), parameterCount(native ?? graph));
  const found = gone / whole;
  const note = `${(100 * found).toFixed(0)} %`;
  if (found >= share) return note;
  const wanted = native ? (await taken(native, 'l1', subject.shape)).gone / parameterCount(native) : share;
  if (wanted >= share) throw new Error(`only ${note} of the parameters went`);
  return `${note} (native ${(100 * wanted).toFixed(0)} %)`;
}

/** A classifier learns classes; another model, pruned, what it gave when it was whole. */
async function trained(subject) {
  const graph = await subject.graph();
  const options = {
    epochs: 2,
    batchSize: images,
    lr: 1e-5,
    warmup: 0,
    seed: 4,
    data: dataset(subject.shape),
  };
  const shape = graph.outputs[0].shape;
  if (shape.length === 2 && shape[1] === classes) return finetune(onnxruntime, graph, options);
  const { pruned } = await taken(graph, 'l1', subject.shape);
  return finetune(onnxruntime, pruned, { ...options, task: 'distill', teacher: graph });
}

export const cells = {
  load: async (subject) => `${(await subject.graph()).nodes.length} nodes`,

  outputs: async (subject) =>
    subject.compare(await subject.graph(), subject.half ? sameInHalf : same, largest),

  macs: async (subject) => {
    const native = await subject.nativeGraph();
    if (!native) return absent;
    const [ours, wanted] = [await describeModel(await subject.graph()), await describeModel(native)];
    const off = ours.macs / wanted.macs - 1;
    if (!(Math.abs(off) <= 0.01)) throw new Error(`${ours.macs} MACs, ${(100 * off).toFixed(1)} % off`);
    return `${(100 * off).toFixed(1)} %`;
  },

  'prune l1': (subject) => prunes(subject, 'l1'),

  'prune taylor': (subject) => prunes(subject, 'taylor'),

  'same channels': async (subject) => {
    if (!alike.has(subject.model) || subject.half) return absent;
    const [ours, wanted] = await Promise.all(
      [await subject.graph(), await subject.nativeGraph()].map(async (graph) => {
        const { kept } = await prune(onnxruntime, graph, { ratio, importance: 'l1' });
        return Object.entries(kept).map(([name, axes]) => `${name} ${JSON.stringify(axes)}`);
      }),
    );
    const other = wanted.find((line) => !ours.includes(line));
    if (other || ours.length !== wanted.length)
      throw new Error(`other channels: ${(other ?? '').slice(0, 60)}`);
    return `${ours.length} parameters`;
  },

  finetune: async (subject) => {
    const losses = ({ epochs }) => [epochs[0].loss, epochs.at(-1).loss];
    let { graph, history } = await trained(subject, 1e-5);
    // Random weights can be so steep that only a smaller step goes down.
    if (!(losses(history)[1] < losses(history)[0])) ({ graph, history } = await trained(subject, 1e-7));
    const [first, last] = losses(history);
    if (!(last < first)) throw new Error(`the loss went from ${first} to ${last}`);
    if (!finite(await subject.run(graph))) throw new Error('the trained model gives what is not finite');
    return `${first.toPrecision(5)} to ${last.toPrecision(5)}`;
  },

  int8: async (subject) => {
    const quantized = await quantize(onnxruntime, await subject.graph(), {});
    const layers = quantizedLayers(quantized).length;
    if (layers === 0) throw new Error('no layer was quantized');
    return `${layers} layers, ${await subject.compare(quantized, near.int8, euclidean)}`;
  },

  fp16: async (subject) => {
    const half = await quantize(onnxruntime, await subject.graph(), { dtype: 'fp16' });
    return subject.compare(half, near.fp16, euclidean);
  },

  torchscript: async (subject) => {
    const folder = mkdtempSync(join(tmpdir(), 'imported-'));
    try {
      const graph = await subject.graph();
      return (await exportModelFile(onnxruntime, graph, 'torchscript', join(folder, 'model.pt'))).verified;
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
};
