import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { pqv, scratch, tinyArgs } from './command.ts';

const at = scratch();

interface Size {
  parameters: number;
  macs: number;
}

beforeAll(async () => {
  expect(await pqv('init', ...tinyArgs, '-o', at('model'))).toMatchObject({ code: 0 });
});

async function prune(
  name: string,
  ...rest: string[]
): Promise<{ before: Size; after: Size; blocks: string }> {
  const { code, stdout, stderr } = await pqv('prune', at('model'), '-o', at(name), ...rest, '--json');
  expect({ code, stderr }).toEqual({
    code: 0,
    stderr: 'left whole: head: the model returns what it makes\n',
  });
  return JSON.parse(stdout);
}

describe('pqv prune --dry-run', () => {
  it('says what would go, and writes nothing', async () => {
    const args = ['prune', at('model'), '--ratio', '0.5', '--dry-run'];
    const told = await pqv(...args, '--json');
    const plan = JSON.parse(told.stdout);
    const { before, after, blocks } = await prune('done', '--ratio', '0.5');
    expect(plan).toMatchObject({ before, after, blocks, files: [] });
    expect(plan.groups.find(({ name }: { name: string }) => name === 'blocks.0.mlp.fc1')).toMatchObject({
      units: 128,
      kept: 64,
    });
    const { stdout } = await pqv(...args, '-o', at('nowhere'));
    expect(stdout).toMatch(/^blocks\.0\.mlp\.fc1 +channels +128 +64$/m);
    expect(stdout).toMatch(/nothing was written$/m);
    expect(existsSync(at('nowhere'))).toBe(false);
  });

  it('is what lets the output be left out', async () => {
    const { code, stderr } = await pqv('prune', at('model'), '--ratio', '0.5');
    expect(code).toBe(2);
    expect(stderr).toMatch(/required option '-o, --output <dir>' not specified/);
  });
});

describe('pqv prune and patterns', () => {
  const args = ['--ratio', '0.5', '--dry-run'];

  it('--ratio-for gives groups a ratio of their own', async () => {
    const own = ['--ratio-for', 'blocks.*.mlp.*=0.25', '--ratio-for', 'patch_embed.*=0'];
    const { stdout } = await pqv('prune', at('model'), ...args, ...own, '--json');
    const kept = new Map(
      JSON.parse(stdout).groups.map(({ name, kept }: { name: string; kept: number }) => [name, kept]),
    );
    expect([kept.get('blocks.0.mlp.fc1'), kept.get('patch_embed.proj')]).toEqual([96, 32]);
  });

  it.each([
    [
      ['--ignore', 'block.0.*'],
      /error: ignore: no tensor of the model matches "block\.0\.\*"; did you mean blocks/,
    ],
    [
      ['--ratio-for', 'blocks.0.attn.proj.*=0.1'],
      /the outputs of blocks\.0\.attn\.proj\.weight go with those of/,
    ],
    [['--ratio-for', 'blocks.0.*'], /it must be glob=r, a number from 0, below 1/i],
    [['--ratio-for', 'blocks.0.*=1'], /it must be glob=r, a number from 0, below 1/i],
  ])('%j is refused', async (given, message) => {
    const { code, stderr } = await pqv('prune', at('model'), ...args, ...given);
    expect(stderr).toMatch(message);
    expect(code).toBe(2);
  });
});

describe('pqv prune --save-scores', () => {
  const args = (...more: string[]) => ['prune', at('model'), '--ratio', '0.5', '--dry-run', ...more];

  it('writes a file that --scores takes', async () => {
    const { stdout } = await pqv(...args('--importance', 'l2', '--save-scores', at('scores.json')));
    expect(stdout).toMatch(/no model was written; scores in .*scores\.json$/m);
    const told = async (...more: string[]) =>
      JSON.parse((await pqv(...args('--json', ...more))).stdout).groups;
    expect(await told('--scores', at('scores.json'))).toEqual(await told('--importance', 'l2'));
    const { stderr } = await pqv(...args('--scores', at('scores.json'), '--normalizer', 'max'));
    expect(stderr).toMatch(/importance as the scores have it: l2, group reduction mean, normalizer mean/);
  });

  it.each([
    ['', /is not JSON/],
    ['{}', /format/],
    [
      '{"format":"pqv-scores-1","criterion":{"importance":"l1","groupReduction":"mean","normalizer":"mean"},"groups":[]}',
      /scores of another model/,
    ],
  ])('a file that is none is refused: %s', async (text, message) => {
    writeFileSync(at('wrong.json'), text);
    const { code, stderr } = await pqv(...args('--scores', at('wrong.json')));
    expect({ code, lines: stderr.trim().split('\n').length }).toEqual({ code: 2, lines: 1 });
    expect(stderr).toMatch(message);
  });
});

describe('pqv prune checks itself', () => {
  const args = ['--ratio', '0.5', '--dry-run'];

  it('against the model with what goes masked', async () => {
    const { stdout } = await pqv('prune', at('model'), ...args);
    expect(stdout).toMatch(/^checked: the model with what went masked gives the same to \de-\d+ \(/m);
    const { check } = JSON.parse((await pqv('prune', at('model'), ...args, '--json')).stdout);
    expect(check.relative).toBeLessThan(1e-4);
    expect(check.unchecked).toEqual([]);
  });

  it('but with --no-check', async () => {
    const { stdout } = await pqv('prune', at('model'), ...args, '--no-check', '--json');
    expect(JSON.parse(stdout).check).toBeNull();
  });
});

describe('pqv prune, each budget by itself', () => {
  it('--target-macs', async () => {
    const { before } = await prune('some', '--ratio', '0.1');
    const target = 0.6 * before.macs;
    const { after } = await prune('target', '--target-macs', String(target / 1e9));
    expect(after.macs).toBeLessThanOrEqual(target);
    expect(after.macs).toBeGreaterThan(0.85 * target);
  });

  it('--heads', async () => {
    const { blocks } = await prune('heads', '--heads', '0.5');
    expect(blocks).toBe('embed 32, heads 1 x 16, MLP 128');
    const notes = JSON.parse(readFileSync(at('heads', 'pruning.json'), 'utf8'));
    expect(notes.ratio).toBe(0);
    expect(notes.kept['blocks.0.attn.qkv.weight']['0']).toHaveLength(3 * 16);
  });

  it('--branches', async () => {
    const { code, stdout, stderr } = await pqv(
      'prune',
      at('model'),
      '-o',
      at('short'),
      '--branches',
      '1',
      '--json',
    );
    expect(code).toBe(0);
    expect(stderr).toContain(
      'branches are ranked by what they change on noise: give --data to rank them on images',
    );
    expect(stderr).toContain(
      'without these branches it is no model that timm builds: it is written as ONNX only',
    );
    const { branches, files, before, after } = JSON.parse(stdout);
    expect(files).toEqual(['model.onnx', 'pruning.json']);
    expect(branches).toHaveLength(1);
    expect(JSON.parse(readFileSync(at('short', 'pruning.json'), 'utf8')).branches).toEqual(branches);
    expect(after.parameters).toBeLessThan(before.parameters);
    const { stdout: again } = await pqv('inspect', at('short'), '--json');
    expect(JSON.parse(again).parameters).toBe(after.parameters);
  });

  it('--heads beside a ratio', async () => {
    const { blocks } = await prune('both', '--ratio', '0.25', '--heads', '0.5');
    expect(blocks).toBe('embed 24, heads 1 x 12, MLP 96');
  });
});

it('learns what the blocks of the model before pruning hand on, as pruning.json says', async () => {
  const training = ['--data', 'mnist', '--epochs', '1', '--limit', '128', '--distill-kind', 'feature'];
  const args = [...training, '--teacher', at('model'), '-o'];
  expect(await pqv('finetune', at('both'), ...args, at('taught'))).toMatchObject({ code: 0 });
  renameSync(at('both', 'pruning.json'), at('both', 'away.json'));
  expect(await pqv('finetune', at('both'), ...args, at('untaught'))).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/what pruning kept \(pruning\.json in its folder\)/),
  });
});
