import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fromBinary, toBinary } from '@bufbuild/protobuf';
import sharp from 'sharp';
import { encodeSafetensors, inMemory, readSafetensors } from '../../src/checkpoint/safetensors.ts';
import {
  Call,
  everyPart,
  Global,
  Persistent,
  type Pickled,
  Tuple,
  tuple,
  writePickle,
} from '../../src/checkpoint/torch/pickle.ts';
import { readTorchFile } from '../../src/checkpoint/torch/read-torch.ts';
import { writeZip } from '../../src/checkpoint/torch/zip.ts';
import { parseJsonAs } from '../../src/common/json.ts';
import { validated } from '../../src/common/options.ts';
import type { Random } from '../../src/common/random.ts';
import { decodeImage } from '../../src/dataset/decode.node.ts';
import { ortFormat } from '../../src/export/ort.node.ts';
import { ortContents } from '../../src/export/ort-contents.ts';
import { tfliteContents } from '../../src/export/tflite/contents.ts';
import { exportTflite } from '../../src/export/tflite/export.ts';
import { archiveContents } from '../../src/export/torchscript/contents.ts';
import { exportLite, liteOptions } from '../../src/export/torchscript/lite.ts';
import { countMacs } from '../../src/graph/cost.ts';
import type { Graph } from '../../src/graph/graph.ts';
import { Tensor } from '../../src/graph/tensor.ts';
import { importGraph, isForeign } from '../../src/import/import-graph.ts';
import { capabilities } from '../../src/library/capabilities.ts';
import { type ModelProto, ModelProtoSchema, type ValueInfoProto } from '../../src/onnx/generated/onnx_pb.ts';
import { readOnnx } from '../../src/onnx/read.ts';
import { concatenate, writeOnnx } from '../../src/onnx/write.ts';
import { recipeOf } from '../../src/pipeline/recipe.node.ts';
import { parsedRecipe } from '../../src/pipeline/recipe-file.node.ts';
import { findGroups } from '../../src/prune/groups.ts';
import { planPruning } from '../../src/prune/plan.ts';
import { prune } from '../../src/prune/prune.ts';
import { scoreRecord, scoreRecordSchema, scoresIn } from '../../src/prune/score-record.ts';
import { onnxruntime } from '../../src/runtime/onnxruntime.node.ts';
import { describeModel } from '../../src/zoo/describe.ts';
import { buildModel, initModel } from '../../src/zoo/model.ts';
import { zeroParameters } from '../../src/zoo/parameter-source.ts';
import { readTimmConfig } from '../../src/zoo/timm-config.ts';
import { checkpointKinds } from './checkpoints.ts';
import { json, mutatedBytes, mutatedValue } from './mutate.ts';

/** Something that comes from strangers. */
export interface Kind {
  /** A broken one. */
  make(random: Random): Uint8Array | Promise<Uint8Array>;
  /** What is done with it; may only throw what users are told. */
  use(bytes: Uint8Array): unknown;
}

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const bytesOf = (value: string) => new TextEncoder().encode(value);

const architecture = 'vit_tiny_patch16_224';
const modelArgs = { img_size: 8, patch_size: 4, embed_dim: 8, depth: 1, num_heads: 2 };
const tiny = (): Graph => initModel({ architecture, modelArgs, numClasses: 3 });

const tensors = (): [string, Tensor][] => [
  ['blocks.0.weight', Tensor.float32([2, 3], [1, 2, 3, 4, 5, 6])],
  ['blocks.0.count', Tensor.int64([7], [])],
];

function safetensors(random: Random): Uint8Array {
  const whole = concatenate([...encodeSafetensors(tensors())]);
  if (random.below(2) === 0) return mutatedBytes(whole, random);
  const length = Number(new DataView(whole.buffer).getBigUint64(0, true));
  const header = bytesOf(json(mutatedValue(JSON.parse(text(whole.subarray(8, 8 + length))), random)));
  const prefix = new Uint8Array(8);
  new DataView(prefix.buffer).setBigUint64(0, BigInt(header.length), true);
  return concatenate([prefix, header, whole.subarray(8 + length)]);
}

/** What `torch.save` writes of a state dict; broken as a whole, or in the pickle that its sums are then made of. */
function torchFile(random: Random): Uint8Array {
  const storage = new Persistent(tuple('storage', new Global('torch', 'FloatStorage'), '0', 'cpu', 6));
  const hooks = new Call(new Global('collections', 'OrderedDict'), tuple());
  const layout = [0, new Tuple([2, 3]), new Tuple([3, 1]), false] as const;
  const weight = new Call(new Global('torch._utils', '_rebuild_tensor_v2'), tuple(storage, ...layout, hooks));
  const state = new Map<string, Pickled>([
    ['model', new Map<string, Pickled>([['blocks.0.weight', weight]])],
    ['epoch', 3],
  ]);
  const pickle = writePickle(state);
  const whole = random.below(3) === 0;
  const elements = new Uint8Array(Float32Array.of(1, 2, 3, 4, 5, 6).buffer);
  const archive = concatenate([
    ...writeZip([
      { name: 'a/data.pkl', bytes: () => (whole ? pickle : mutatedBytes(pickle, random)) },
      { name: 'a/data/0', bytes: () => elements },
    ]),
  ]);
  return whole ? mutatedBytes(archive, random) : archive;
}

/** Changes in the messages themselves, which keep the file readable; sometimes in its bytes. */
function onnx(graph: () => Graph, random: Random): Uint8Array {
  const whole = writeOnnx(graph());
  if (random.below(3) === 0) return mutatedBytes(whole, random);
  const model = fromBinary(ModelProtoSchema, whole);
  for (let changes = 1 + random.below(3); changes > 0; changes--) breakModel(model, random);
  return toBinary(ModelProtoSchema, model);
}

const sizes = [0n, 1n, 2n, 3n, 7n, -1n, -5n, 2n ** 31n, 2n ** 40n, 2n ** 62n, -(2n ** 62n)];

function breakModel(model: ModelProto, random: Random): void {
  const { node: nodes, initializer, input, output, valueInfo } = model.graph!;
  const any = <T>(list: readonly T[]): T | undefined => list[random.below(Math.max(1, list.length))];
  const size = () => sizes[random.below(sizes.length)]!;
  const node = any(nodes);
  const attribute = node && any(node.attribute);
  const constant = any(initializer);
  const values = nodes.flatMap((one) => one.output);
  const set = <T extends object>(target: T | undefined, fields: Partial<T>) => {
    if (target) Object.assign(target, fields);
  };
  const described = [...input, ...output, ...valueInfo];
  const changes: (() => void)[] = [
    () => set(node, { opType: any(nodes)!.opType }),
    () => node?.input.splice(random.below(node.input.length + 1), 1, any([...values, '', 'nowhere'])!),
    () => set(node, { output: [] }),
    () => node?.output.splice(0, 1, any(values) ?? ''),
    () => node?.attribute.splice(random.below(node.attribute.length + 1), 1),
    () => nodes.push(...nodes.splice(random.below(nodes.length), 1)),
    () => nodes.splice(random.below(nodes.length), 1),
    () => node && nodes.push(structuredClone(node)),
    () => set(attribute, { type: random.below(16) }),
    () => set(attribute, { ints: [size(), size()] }),
    () => set(attribute, { i: size() }),
    () => set(attribute, { f: Number.NaN }),
    () => set(constant, { dims: [size(), size()] }),
    () => set(constant, { dataType: random.below(30) }),
    () => set(constant, { rawData: constant!.rawData.subarray(0, random.below(9)) }),
    () => set(constant, { dataLocation: 1 }),
    () => set(constant, { name: any(initializer)!.name }),
    () => delete any(described)?.type,
    () => set(any([...input, ...output]), { name: any([...values, 'nowhere'])! }),
    () => breakType(any(described), size(), random),
    () => set(model.opsetImport[0], { version: size() }),
    () => set(model, { opsetImport: [] }),
    () => breakNotes(model, random),
  ];
  changes[random.below(changes.length)]!();
}

function breakType(info: ValueInfoProto | undefined, size: bigint, random: Random): void {
  const type = info?.type?.tensorType;
  if (!type) return;
  if (random.below(3) === 0) type.elemType = random.below(30);
  const dim = type.shape?.dim[random.below(type.shape.dim.length || 1)];
  if (dim)
    Object.assign(dim, random.below(2) === 0 ? { dimValue: size, dimParam: '' } : { dimParam: '9*N*N' });
}

function breakNotes(model: ModelProto, random: Random): void {
  const note = model.metadataProps[random.below(model.metadataProps.length || 1)];
  // One that was broken before stays as it is: nested too deeply, it could not be walked.
  if (note && note.value.length < 10_000) note.value = json(mutatedValue(JSON.parse(note.value), random));
}

async function useModel(bytes: Uint8Array): Promise<void> {
  const graph = readOnnx(bytes);
  if (isForeign(graph)) importGraph(graph);
  await describeModel(graph);
  capabilities(graph);
  countMacs(graph);
}

const configuration = {
  architecture,
  num_classes: 3,
  label_names: ['a', 'b', 'c'],
  model_args: {
    ...modelArgs,
    mlp_ratio: 2,
    qkv_bias: true,
    norm_layer: 'layernorm',
    act_layer: 'gelu',
    class_token: true,
  },
  pretrained_cfg: {
    ...{ input_size: [3, 8, 8], mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5], interpolation: 'bicubic' },
    ...{ crop_pct: 0.9, crop_mode: 'center', num_classes: 3 },
  },
};

const recipe = {
  model: 'model/',
  data: 'mnist',
  prune: { ratio: 0.25, importance: 'l1', ignore: ['head*'], ratioFor: { 'blocks.*': 0.5 } },
  finetune: { epochs: 1, lr: 0.001, crop: 4 },
  quantize: { dtype: 'int8', scheme: 'dynamic', ignore: [] },
  formats: ['onnx', 'ort'],
  export: { onnx: { form: 'qdq' } },
};

const scoredGroups = findGroups(tiny()).groups;
const scores = scoreRecord(
  scoredGroups,
  { importance: 'l1', groupReduction: 'mean' },
  scoredGroups.map(({ size }) => new Float64Array(size).fill(1)),
);

/** Files for runtimes, made once; a few bytes of them are changed each time. */
const runtimeFiles = {
  tflite: lazily(() => exportTflite(onnxruntime, tiny())),
  ptl: lazily(() => concatenate([...exportLite(tiny(), validated(liteOptions, {}))])),
  ort: lazily(async () => {
    const folder = mkdtempSync(join(tmpdir(), 'pqv-fuzz-'));
    try {
      const path = join(folder, 'm.ort');
      await ortFormat.write({ engine: onnxruntime, graph: tiny(), path, options: {} });
      return readFileSync(path);
    } finally {
      rmSync(folder, { recursive: true });
    }
  }),
};

function lazily<T>(make: () => T): () => T {
  let made: T | undefined;
  return () => {
    made ??= make();
    return made;
  };
}

const imageFormats = ['jpeg', 'png', 'webp', 'gif', 'tiff'] as const;

/** By name. */
export const kinds: Readonly<Record<string, Kind>> = {
  safetensors: {
    make: safetensors,
    use(bytes) {
      for (const tensor of readSafetensors(inMemory(bytes, 'model.safetensors')).tensors.values())
        void tensor.data;
    },
  },
  onnx: { make: (random) => onnx(tiny, random), use: useModel },
  'foreign onnx': {
    make: (random) =>
      onnx(() => {
        const graph = tiny();
        for (const key of [...graph.metadata.keys()]) graph.metadata.delete(key);
        return graph;
      }, random),
    use: useModel,
  },
  prune: {
    make: (random) => onnx(tiny, random),
    use: (bytes) => prune(onnxruntime, readOnnx(bytes), { ratio: 0.25 }),
  },
  config: {
    make: (random) => bytesOf(json(mutatedValue(configuration, random))),
    use: (bytes) => buildModel(readTimmConfig(text(bytes), 'config.json'), zeroParameters),
  },
  ...checkpointKinds,
  torch: {
    make: torchFile,
    use(bytes) {
      const file = readTorchFile(inMemory(bytes, 'model.pth'));
      for (const part of everyPart(file.value)) void file.tensorOf(part)?.data;
    },
  },
  recipe: {
    make: (random) =>
      random.below(2) === 0
        ? bytesOf(json(mutatedValue(recipe, random)))
        : mutatedBytes(bytesOf(JSON.stringify(recipe, null, 1)), random),
    use: (bytes) => recipeOf(parsedRecipe(text(bytes), 'recipe.yaml')),
  },
  scores: {
    make: (random) =>
      random.below(2) === 0
        ? bytesOf(json(mutatedValue(scores, random)))
        : mutatedBytes(bytesOf(JSON.stringify(scores)), random),
    use(bytes) {
      const record = parseJsonAs(scoreRecordSchema, text(bytes), 'scores.json');
      planPruning(scoredGroups, scoresIn(record, scoredGroups), { ratio: 0.5 });
    },
  },
  tflite: {
    make: async (random) => mutatedBytes(await runtimeFiles.tflite(), random),
    use: (bytes) => tfliteContents(bytes, 'model.tflite'),
  },
  ptl: {
    make: (random) => mutatedBytes(runtimeFiles.ptl(), random),
    use: (bytes) => archiveContents(inMemory(bytes, 'model.ptl'), 'model.ptl'),
  },
  ort: {
    make: async (random) => mutatedBytes(await runtimeFiles.ort(), random),
    use: (bytes) => ortContents(bytes, 'model.ort'),
  },
  image: {
    async make(random) {
      const image = { width: 9, height: 7, channels: 3, background: '#805020' } as const;
      const format = imageFormats[random.below(imageFormats.length)]!;
      return mutatedBytes(await sharp({ create: image }).toFormat(format).toBuffer(), random);
    },
    use: (bytes) => decodeImage(bytes),
  },
};
