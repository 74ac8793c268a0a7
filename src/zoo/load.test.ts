import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest';
import { openSafetensors, saveSafetensors } from '../checkpoint/safetensors.node.ts';
import { UserError } from '../common/errors.ts';
import type { Graph } from '../graph/graph.ts';
import { inferGraph } from '../graph/infer.ts';
import { parameters } from '../graph/parameters.ts';
import { Tensor } from '../graph/tensor.ts';
import { onnxruntime } from '../runtime/onnxruntime.node.ts';
import { runOnce } from '../runtime/session.ts';
import { describeModel } from './describe.ts';
import { inferModelArgs } from './infer-arguments.ts';
import { loadModel } from './load.node.ts';
import { initModel } from './model.ts';
import { modelInfo, setModelInfo } from './model-info.ts';
import { saveModel, saveTimm } from './save.node.ts';
import { timmState } from './timm-state.ts';

const root = mkdtempSync(join(tmpdir(), 'zoo-'));
afterAll(() => rmSync(root, { recursive: true }));
afterEach(() => vi.unstubAllEnvs());
let count = 0;
const place = () => join(root, `${++count}`);

const modelArgs = { img_size: 32, embed_dim: 24, depth: 2, num_heads: 3 };
const tiny = () => initModel({ architecture: 'vit_tiny_patch16_224', modelArgs, numClasses: 4 }, 3);

async function logitsOf(graph: Graph): Promise<number[]> {
  const pixels = Tensor.float32(
    [1, 3, 32, 32],
    Float32Array.from({ length: 3072 }, (_, i) => Math.cos(i)),
  );
  const { logits } = await runOnce(onnxruntime, graph, { pixel_values: pixels });
  return [...logits!.floats];
}

/** A timm folder with its `config.json` and tensors changed. */
function folderWith(
  config: (config: Record<string, unknown>) => void,
  tensors: (tensors: Map<string, Tensor>) => void = () => {},
): string {
  const folder = place();
  const graph = tiny();
  saveTimm(graph, folder);
  const path = join(folder, 'config.json');
  const read = JSON.parse(readFileSync(path, 'utf8'));
  config(read);
  writeFileSync(path, JSON.stringify(read));
  const state = timmState(graph);
  tensors(state);
  saveSafetensors(join(folder, 'model.safetensors'), state);
  return folder;
}

const refusal = (reference: string, options?: { arch: string }) =>
  loadModel(reference, options).then(
    () => undefined,
    (error: unknown) => error as Error,
  );

describe('saveModel and loadModel', () => {
  it('give back the model, from timm layout and from ONNX', async () => {
    const graph = tiny();
    const expected = await logitsOf(graph);
    const [timm, both] = [place(), place()];
    expect(saveTimm(graph, timm)).toEqual(['model.safetensors', 'config.json']);
    expect(saveModel(graph, both).sort()).toEqual(['config.json', 'model.onnx', 'model.safetensors']);
    expect(readdirSync(both).sort()).toEqual(['config.json', 'model.onnx', 'model.safetensors']);
    for (const reference of [timm, both, join(both, 'model.onnx')]) {
      const loaded = await loadModel(reference);
      expect(await logitsOf(loaded)).toEqual(expected);
      expect(modelInfo(loaded)).toEqual(modelInfo(graph));
    }
  });

  it('keep what was done to the model, and its class names', async () => {
    const graph = tiny();
    const info = { ...modelInfo(graph), classNames: ['a', 'b', 'c', 'd'] };
    setModelInfo(graph, { ...info, history: ['pruned'] });
    const folder = place();
    saveModel(graph, folder);
    expect(modelInfo(await loadModel(folder)).history).toEqual(['pruned']);
    rmSync(join(folder, 'model.onnx'));
    expect(modelInfo(await loadModel(folder))).toEqual({ ...info, history: [] });
  });

  it('take a run directory for its latest stage', async () => {
    const folder = place();
    saveModel(tiny(), join(folder, 'dense'));
    const later = tiny();
    setModelInfo(later, { ...modelInfo(later), history: ['pruned'] });
    saveModel(later, join(folder, 'pruned'));
    expect(modelInfo(await loadModel(folder)).history).toEqual(['pruned']);
  });

  it('read a bare checkpoint with its architecture, the classes from its head', async () => {
    const graph = initModel({ architecture: 'test_vit', numClasses: 3 });
    const path = join(place(), 'weights.safetensors');
    saveSafetensors(path, timmState(graph));
    const loaded = await loadModel(path, { arch: 'test_vit' });
    expect(modelInfo(loaded).numClasses).toBe(3);
    expect((await refusal(path))?.message).toMatch(/say which architecture/);
  });

  it('widen half-precision checkpoints', async () => {
    const folder = folderWith(
      () => {},
      (tensors) => {
        for (const [name, tensor] of tensors) {
          const bits = new Uint32Array(tensor.floats.slice().buffer);
          tensors.set(
            name,
            new Tensor(
              'bfloat16',
              tensor.shape,
              Uint16Array.from(bits, (word) => word >>> 16),
            ),
          );
        }
      },
    );
    const [found, expected] = [await logitsOf(await loadModel(folder)), await logitsOf(tiny())];
    found.forEach((value, i) => {
      expect(Math.abs(value - expected[i]!)).toBeLessThan(0.01);
    });
  });

  it('leave no stale timm files beside a model that timm can not build', async () => {
    const folder = place();
    saveModel(tiny(), folder);
    const graph = tiny();
    halveHidden(graph, 'blocks.0');
    expect(inferModelArgs(graph)).toBeUndefined();
    expect(saveModel(graph, folder)).toEqual(['model.onnx']);
    expect(readdirSync(folder)).toEqual(['model.onnx']);
    expect(() => saveTimm(graph, folder)).toThrow(/timm has no arguments/);
  });

  const noPath = '/nowhere/at/all';
  const mistyped = () => {
    const folder = mkdtempSync(join(root, 'runs-'));
    mkdirSync(join(folder, 'demo'));
    return join(folder, 'dmeo');
  };
  const references: [string, () => string, RegExp][] = [
    ['a missing file', () => `${noPath}/m.onnx`, /no such file or folder/],
    [
      'a hub id',
      () => 'timm/deit_base_patch16_224.fb_in1k',
      /timm\/deit_base_patch16_224\.fb_in1k is not in the cache .*offline/,
    ],
    ['a mistyped path', mistyped, /runs-\w+\/dmeo: no such file or folder; did you mean .*runs-\w+\/demo\?$/],
    ['a path into a folder', () => join(root, 'nothing'), /nothing: no such file or folder$/],
    [
      'a missing checkpoint',
      () => 'here/weights.safetensors',
      /weights\.safetensors: no such file or folder$/,
    ],
    [
      'a name of timm',
      () => 'vit_base_patch16_384',
      /timm\/vit_base_patch16_384\.augreg_in21k_ft_in1k is not in the cache/,
    ],
    ['a name without weights', () => 'vit_base_patch16_xp_224', /without pretrained weights.*pqv init/],
    [
      'a tag that there is not',
      () => 'deit_base_patch16_224.fb_in22k',
      /no weights "fb_in22k"; did you mean .*fb_in1k/,
    ],
    ['an empty folder', () => mkdtempSync(join(root, 'empty-')), /holds no model/],
    [
      'a config that is no JSON',
      () => {
        const folder = folderWith(() => {});
        writeFileSync(join(folder, 'config.json'), '{');
        return folder;
      },
      /config\.json is not JSON/,
    ],
    [
      'an unknown architecture',
      () =>
        folderWith((c) => {
          c.architecture = 'vit_tiny_patch61_224';
        }),
      /config\.json: unknown architecture.*did you mean vit_tiny_patch16_224/,
    ],
    [
      'an unknown argument',
      () =>
        folderWith((c) => {
          c.model_args = { ...modelArgs, head_dim: 8 };
        }),
      /unknown model argument "head_dim"/,
    ],
    [
      'a truncated checkpoint',
      () => {
        const folder = folderWith(() => {});
        truncateSync(join(folder, 'model.safetensors'), 5000);
        return folder;
      },
      /model\.safetensors.*(truncated|larger than the file)/,
    ],
    [
      'a missing tensor',
      () =>
        folderWith(
          () => {},
          (t) => t.delete('blocks.1.norm2.bias'),
        ),
      /lacks tensor blocks\.1\.norm2\.bias \[24\]/,
    ],
    [
      'an unexpected tensor',
      () =>
        folderWith(
          () => {},
          (t) => t.set('extra', Tensor.float32([2], [1, 2])),
        ),
      /has tensor extra \[2\].*does not expect/,
    ],
    [
      'a wrong shape',
      () =>
        folderWith(
          () => {},
          (t) => t.set('head.bias', Tensor.zeros('float32', [5])),
        ),
      /tensor "head\.bias" has shape \[5\], the architecture expects \[4\]/,
    ],
    [
      'an integer parameter',
      () =>
        folderWith(
          () => {},
          (t) => t.set('head.bias', Tensor.int64([1, 2, 3, 4])),
        ),
      /tensor "head\.bias" is int64/,
    ],
    [
      'a pickle that is none',
      () => {
        const folder = folderWith(() => {});
        rmSync(join(folder, 'model.safetensors'));
        writeFileSync(join(folder, 'pytorch_model.bin'), 'x');
        return folder;
      },
      /pytorch_model\.bin: truncated/,
    ],
    [
      'a folder without weights',
      () => {
        const folder = folderWith(() => {});
        rmSync(join(folder, 'model.safetensors'));
        return folder;
      },
      /no model\.safetensors or pytorch_model\.bin/,
    ],
  ];
  it.each(references)('refuse %s in one line', async (_what, make, message) => {
    vi.stubEnv('HF_HUB_OFFLINE', '1');
    vi.stubEnv('HF_HOME', join(root, 'no-cache'));
    const error = await refusal(make());
    expect(error).toBeInstanceOf(UserError);
    expect(error!.message).toMatch(message);
    expect(error!.message).not.toContain('\n');
  });
});

/** Keeps the first half of a block's MLP units: the simplest pruning there is. */
function halveHidden(graph: Graph, block: string): void {
  const constant = (name: string) => graph.constants.get(`${block}.mlp.${name}`)!;
  const [weight, bias, out] = [constant('fc1.weight'), constant('fc1.bias'), constant('fc2.weight')];
  const [hidden, width] = weight.staticShape as [number, number];
  const kept = hidden / 2;
  graph.setConstant(weight, Tensor.float32([kept, width], weight.tensor!.floats.slice(0, kept * width)));
  graph.setConstant(bias, Tensor.float32([kept], bias.tensor!.floats.slice(0, kept)));
  const rows = Array.from({ length: width }, (_, row) => [
    ...out.tensor!.floats.subarray(row * hidden, row * hidden + kept),
  ]);
  graph.setConstant(out, Tensor.float32([width, kept], rows.flat()));
  inferGraph(graph);
}

describe('inferModelArgs', () => {
  it('finds the ratio of MLPs that were pruned alike', async () => {
    const graph = tiny();
    for (const block of ['blocks.0', 'blocks.1']) halveHidden(graph, block);
    expect(inferModelArgs(graph)).toEqual({ ...modelArgs, mlp_ratio: 2 });
    const folder = place();
    saveModel(graph, folder);
    rmSync(join(folder, 'model.onnx'));
    const loaded = await loadModel(folder);
    expect(await logitsOf(loaded)).toEqual(await logitsOf(graph));
    expect((await describeModel(loaded)).blocks.map(({ mlpHidden }) => mlpHidden)).toEqual([48, 48]);
  });

  it('keeps the model that was asked for', () => {
    expect(inferModelArgs(tiny())).toEqual(modelArgs);
    expect(inferModelArgs(initModel({ architecture: 'test_vit' }))).toEqual({});
  });
});

describe('timmState', () => {
  it('moves another query scale into the weights, so that timm computes the same', async () => {
    const graph = tiny();
    const changed = Tensor.scalar(16 ** -0.5);
    for (const node of graph.nodes) {
      if (node.op !== 'Mul' || !node.output().name.endsWith('.q_scaled')) continue;
      node.setInput(1, graph.constants.get('other') ?? graph.addConstant('other', changed));
    }
    const folder = place();
    saveTimm(graph, folder);
    const [expected, found] = [await logitsOf(graph), await logitsOf(await loadModel(folder))];
    found.forEach((value, i) => {
      expect(value).toBeCloseTo(expected[i]!, 5);
    });
    const { tensors } = openSafetensors(join(folder, 'model.safetensors'));
    const rows = tensors.get('blocks.0.attn.qkv.weight')!.floats;
    const original = graph.constants.get('blocks.0.attn.qkv.weight')!.tensor!.floats;
    const ratio = 16 ** -0.5 / 8 ** -0.5;
    expect(rows[0]).toBeCloseTo(original[0]! * ratio, 6);
    expect(rows[24 * 24]).toBe(original[24 * 24]);
  });
});

describe('describeModel', () => {
  it('counts DeiT-Base as published', async () => {
    const description = await describeModel(initModel({ architecture: 'deit_base_patch16_224' }));
    expect(description.architecture).toBe('deit_base_patch16_224');
    expect(description.parameters).toBe(86_567_656);
    expect(Math.abs(description.macs / 1e9 - 17.58)).toBeLessThan(0.05);
    expect(description.input).toEqual([3, 224, 224]);
    expect(description.classes).toBe(1000);
    expect(description.stateHash).toBe('1cdb64a0923e3c6e');
    expect(description.blocks).toHaveLength(12);
    expect(description.blocks[11]).toEqual({
      name: 'blocks.11',
      embedDim: 768,
      numHeads: 12,
      headDim: 64,
      mlpHidden: 3072,
    });
  });

  it('sees the sizes of every kind of block', async () => {
    const names = [
      'vit_base_patch16_xp_224',
      'vit_base_patch16_18x2_224',
      'vit_dpwee_patch16_reg1_gap_256',
      'aimv2_large_patch14_224',
      'vit_base_patch16_rpn_224',
    ];
    const sizes = [];
    for (const architecture of names) {
      const [block] = (await describeModel(initModel({ architecture }))).blocks;
      sizes.push([block!.embedDim, block!.numHeads, block!.headDim, block!.mlpHidden]);
    }
    expect(sizes).toEqual([
      [768, 12, 64, 3072],
      [768, 12, 64, 3072],
      [256, 4, 32, 1280],
      [1024, 8, 128, 2816],
      [768, 12, 64, 3072],
    ]);
  });

  it('describes a graph from elsewhere without blocks', async () => {
    const graph = tiny();
    graph.metadata.clear();
    for (const value of [...graph.constants.values()]) {
      graph.rename(value, `w${parameters(graph).length}_${value.name.replaceAll('.', '/')}`);
    }
    const { architecture, blocks, classes, input, stateHash } = await describeModel(graph);
    expect({ architecture, blocks, classes, input, stateHash }).toEqual({
      architecture: null,
      blocks: [],
      classes: 4,
      input: [3, 32, 32],
      stateHash: null,
    });
  });

  it('says that a model without a head has no classes', async () => {
    const graph = initModel({ architecture: 'vit_tiny_patch16_224', modelArgs, numClasses: 0 });
    expect(await describeModel(graph)).toMatchObject({ classes: 0, outputs: 24 });
    const folder = place();
    saveModel(graph, folder);
    rmSync(join(folder, 'model.onnx'));
    expect(modelInfo(await loadModel(folder)).numClasses).toBe(0);
  });
});

it('takes no name from a file for one that every object has', () => {
  for (const args of [
    { norm_layer: 'constructor' },
    { act_layer: 'toString' },
    { act_layer: 'constructor' },
  ]) {
    const modelArgs = { img_size: 8, patch_size: 4, embed_dim: 8, depth: 1, num_heads: 2, ...args };
    expect(() => initModel({ architecture: 'vit_tiny_patch16_224', modelArgs })).toThrow(/is not supported/);
  }
});

it('refuses arguments that would never end or fit, before memory is taken', () => {
  const tiny = { img_size: 8, patch_size: 4, embed_dim: 8, depth: 1, num_heads: 2 };
  const huge: Record<string, number>[] = [
    { depth: 1e9 },
    { img_size: 1e6 },
    { mlp_ratio: 1e30 },
    { num_classes: 1e15 },
  ];
  for (const args of huge) {
    const modelArgs = { ...tiny, ...args };
    expect(
      () => initModel({ architecture: 'vit_tiny_patch16_224', modelArgs }),
      JSON.stringify(args),
    ).toThrow(UserError);
  }
  const config = { architecture: 'vit_tiny_patch16_224', modelArgs: tiny };
  expect(() => initModel(config, 0, 100)).toThrow(/more than 100 parameters \(--max-parameters\)/);
});
