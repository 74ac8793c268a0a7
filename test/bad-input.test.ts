import { copyFileSync, existsSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import sharp from 'sharp';
import { beforeAll, describe, expect, it } from 'vitest';
import { Random } from '../src/common/random.ts';
import { pqv, scratch, tinyArgs } from './command.ts';

const at = scratch();

/** Writes `bytes` where the safetensors header's length stands. */
function withHeaderLength(path: string, length: bigint): void {
  const bytes = readFileSync(path);
  bytes.writeBigUInt64LE(length, 0);
  writeFileSync(path, bytes);
}

async function photo(path: string, seed: number): Promise<void> {
  const random = new Random(seed);
  const data = Uint8Array.from({ length: 28 * 28 }, () => random.below(256));
  await sharp(data, { raw: { width: 28, height: 28, channels: 1 } })
    .png()
    .toFile(path);
}

/** A timm-layout copy of the model whose files can be damaged. */
function damaged(name: string): string {
  mkdirSync(at(name));
  for (const file of ['config.json', 'model.safetensors']) copyFileSync(at('model', file), at(name, file));
  return at(name);
}

beforeAll(async () => {
  const made = await pqv('init', ...tinyArgs, '-o', at('model'));
  expect(made).toMatchObject({ code: 0 });
});

/** One clear line, exit code 2, nothing written. */
async function refuses(args: string[], message: RegExp): Promise<void> {
  const { code, stdout, stderr } = await pqv(...args);
  expect(stderr).toMatch(message);
  expect(stderr.trim().split('\n')).toHaveLength(1);
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
  const output = args[args.indexOf('-o') + 1];
  if (args.includes('-o')) expect(existsSync(output!)).toBe(false);
}

const prune = (model: string, ...rest: string[]) => ['prune', model, '-o', at('out'), ...rest];

describe('the command line says no in one line, exits with 2 and writes nothing', () => {
  it('a missing file', () => refuses(['inspect', at('nowhere')], /nowhere: no such file or folder/));

  it('accuracy of a model without a head, which it says has features', async () => {
    const [arch, ...rest] = tinyArgs;
    const made = await pqv('init', arch, ...rest, '--num-classes', '0', '-o', at('headless'));
    expect(made).toMatchObject({ code: 0 });
    const { stdout } = await pqv('inspect', at('headless'));
    expect(stdout).toMatch(/32 features, no classifier/);
    await refuses(['eval', at('headless'), '--data', 'mnist'], /has no classifier \(num_classes 0\)/);
  });

  it('a truncated checkpoint', async () => {
    const folder = damaged('truncated');
    truncateSync(`${folder}/model.safetensors`, 5000);
    await refuses(prune(folder, '--ratio', '0.1'), /model\.safetensors.*truncated/);
  });

  it('a header larger than the file', async () => {
    const folder = damaged('header');
    withHeaderLength(`${folder}/model.safetensors`, 1n << 40n);
    await refuses(['inspect', folder], /model\.safetensors.*header/);
  });

  it('a tensor of the wrong shape', async () => {
    const folder = damaged('shape');
    const config = JSON.parse(readFileSync(`${folder}/config.json`, 'utf8'));
    config.model_args.mlp_ratio = 2;
    writeFileSync(`${folder}/config.json`, JSON.stringify(config));
    await refuses(
      ['inspect', folder],
      /blocks\.0\.mlp\.fc1\.weight.*\[128, ?32\].*\[64, ?32\]|\[64, ?32\].*\[128, ?32\]/,
    );
  });

  it('an unknown architecture, with a suggestion', () =>
    refuses(
      ['init', 'deit_bse_patch16_224', '-o', at('out')],
      /deit_bse_patch16_224.*deit_base_patch16_224/,
    ));

  it('an unknown option value', () =>
    refuses(
      prune(at('model'), '--ratio', '0.1', '--importance', 'magic'),
      /importance.*magic.*l1, l2, lamp, fpgm, taylor/,
    ));

  it('an unknown option', () =>
    refuses(prune(at('model'), '--ratio', '0.1', '--ratios', '0.1'), /unknown option '--ratios'/));

  it.each(['0', '1', '-0.5', '1.5', 'many'])('a ratio of %s', (ratio) =>
    refuses(prune(at('model'), `--ratio=${ratio}`), /--ratio.*between 0 and 1/),
  );

  it('a pattern for quantizing that matches nothing, before any training', async () => {
    const run = ['optimize', at('model'), '--data', 'mnist', '-o', at('run'), '--finetune-epochs', '1'];
    const { code, stderr } = await pqv(...run, '--quantize-ignore', 'heads.*');
    expect(stderr).toMatch(/^pqv: error: quantize\.ignore: .* "heads\.\*"; did you mean head\.\*/);
    expect(code).toBe(2);
    expect(existsSync(at('run', 'recipe.yaml'))).toBe(false);
  });

  it('no budget to prune by', () => refuses(prune(at('model')), /give ratio, ratioFor, heads/));

  it('two budgets for the same channels', () =>
    refuses(prune(at('model'), '--ratio', '0.1', '--target-macs', '1'), /give one of them/));

  it('a recipe with a wrong option, and a run without a place', async () => {
    writeFileSync(at('wrong.yaml'), `model: ${at('model')}\ndata: mnist\nprune: { ratio: 3 }\n`);
    const wrong = ['optimize', '--recipe', at('wrong.yaml'), '-o', at('out')];
    await refuses(wrong, /prune\.ratio: it must be a number between 0 and 1/);
    await refuses(['optimize', at('model'), '--data', 'mnist'], /-o DIR/);
    await refuses(['optimize', at('model'), '-o', at('out')], /option data is missing/);
  });

  it('data-driven importance without data', () =>
    refuses(prune(at('model'), '--ratio', '0.1', '--importance', 'taylor'), /taylor.*--data/));

  it('a data folder with nothing in it', async () => {
    mkdirSync(at('empty'));
    await refuses(['eval', at('model'), '--data', at('empty')], /empty/);
  });

  it('a data set of other classes', async () => {
    mkdirSync(at('two', 'a'), { recursive: true });
    mkdirSync(at('two', 'b'));
    await photo(at('two', 'a', '1.png'), 1);
    await photo(at('two', 'b', '1.png'), 2);
    await refuses(['eval', at('model'), '--data', at('two')], /2 classes and the model 10/);
  });

  it('quantizing a quantized model', async () => {
    expect(await pqv('quantize', at('model'), '-o', at('int8'), '--quiet')).toMatchObject({ code: 0 });
    await refuses(['quantize', at('int8'), '-o', at('out')], /quantized/);
  });

  it('static quantization without data', () =>
    refuses(['quantize', at('model'), '-o', at('out'), '--scheme', 'static'], /static.*--data/));

  it("the model's own folder as output", async () => {
    const folder = damaged('own');
    const before = readFileSync(`${folder}/model.safetensors`);
    const { code, stderr } = await pqv('quantize', folder, '-o', folder);
    expect({ code, stderr }).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/own is where the model/),
    });
    const { code: other, stderr: said } = await pqv('quantize', at('model'), '-o', folder);
    expect({ other, said }).toMatchObject({
      other: 2,
      said: expect.stringMatching(/own holds another model/),
    });
    expect(readFileSync(`${folder}/model.safetensors`).equals(before)).toBe(true);
  });

  it('a place that is no folder', () =>
    refuses(
      ['quantize', at('model'), '-o', '/dev/null/out', '--quiet'],
      /can't write .*: a part of the path is not/,
    ));

  it.runIf(process.platform === 'linux')('a place where the system makes no folders', () =>
    refuses(['quantize', at('model'), '-o', '/proc/out', '--quiet'], /can't write .*: no such/),
  );

  it('a file named as another format', () =>
    refuses(
      ['export', at('model'), '--format', 'onnx', '-o', at('out.ort')],
      /out\.ort is named as --format ort/,
    ));

  it('a file for a runtime where a model is wanted', async () => {
    writeFileSync(at('phone.ptl'), '');
    await refuses(['eval', at('phone.ptl'), '--data', 'mnist'], /phone\.ptl.*bench --runtime pytorch/);
  });

  it('an architecture for what says itself what it is', () =>
    refuses(['inspect', at('model'), '--arch', 'deit_tiny_patch16_224'], /--arch is for a checkpoint file/));

  it('a file that is no model', async () => {
    writeFileSync(at('noise.onnx'), 'this is no model');
    await refuses(['inspect', at('noise.onnx')], /noise\.onnx: not an ONNX model/);
  });

  it('a report of no run', () => refuses(['report', at('model')], /report\.json/));
});

describe('corrupt images', () => {
  beforeAll(async () => {
    for (let digit = 0; digit < 10; digit++) {
      mkdirSync(at('photos', 'val', String(digit)), { recursive: true });
      mkdirSync(at('photos', 'train', String(digit)), { recursive: true });
      for (let i = 0; i < 20; i++)
        await photo(at('photos', 'val', String(digit), `${i}.png`), digit * 100 + i);
      await photo(at('photos', 'train', String(digit), '0.png'), digit);
    }
  });

  it('are named, skipped and counted', async () => {
    writeFileSync(at('photos', 'val', '3', '7.png'), 'not a picture');
    const { code, stdout, stderr } = await pqv('eval', at('model'), '--data', at('photos'), '--json');
    expect(stderr).toMatch(/3\/7\.png/);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ samples: 199, skipped: 1 });
  });

  it('fail above one percent', async () => {
    for (const i of [1, 2]) writeFileSync(at('photos', 'val', '5', `${i}.png`), 'not a picture');
    const { code, stderr } = await pqv('eval', at('model'), '--data', at('photos'), '--quiet');
    expect(stderr).toMatch(/1 %/);
    expect(code).toBe(2);
  });
});

describe('training that diverges', () => {
  it('stops, says when, and keeps the last good checkpoint', async () => {
    const args = [
      'finetune',
      at('model'),
      '-o',
      at('diverged'),
      '--data',
      'mnist',
      '--epochs',
      '2',
      '--quiet',
    ];
    const { code, stderr } = await pqv(...args, '--lr', '1e30', '--clip-norm', '0', '--warmup', '0');
    expect(stderr).toMatch(/loss.*epoch \d+/i);
    expect(code).toBe(2);
    expect(existsSync(at('diverged', 'model.onnx'))).toBe(false);
  });
});
