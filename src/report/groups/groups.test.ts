import { describe, expect, it } from 'vitest';
import { describeGroups } from '../../prune/describe-groups.ts';
import { initModel } from '../../zoo/model.ts';
import { foldGroups, foldLeftWhole, foldNames } from './fold.ts';
import { layerSides } from './layers.ts';
import { groupsPage } from './page.ts';

describe('names that differ in numbers', () => {
  it('become ranges', () => {
    expect(foldNames(['a.2.x', 'a.0.x', 'a.1.x', 'b', 'a.5.x'])).toEqual(['a.0-2,5.x', 'b']);
    expect(foldNames(['s.0.b.0.w', 's.0.b.1.w', 's.1.b.0.w', 's.1.b.1.w'])).toEqual(['s.0-1.b.0-1.w']);
    expect(foldNames(['/layer/9/MatMul', '/layer/10/MatMul'])).toEqual(['/layer/9-10/MatMul']);
  });

  it('say nothing that was not there', () => {
    expect(foldNames(['s.0.b.1.w', 's.1.b.0.w'])).toEqual(['s.0.b.1.w', 's.1.b.0.w']);
    expect(foldNames(['fc1', 'fc2', 'conv1_3x3'])).toEqual(['fc1', 'fc2', 'conv1_3x3']);
  });
});

const graph = initModel(
  {
    architecture: 'vit_tiny_patch16_224',
    modelArgs: { img_size: 32, embed_dim: 24, depth: 3, num_heads: 3, num_classes: 10 },
  },
  1,
);
const found = describeGroups(graph);

it('groups that are alike are told once, and none is lost', () => {
  const folded = foldGroups(found.groups);
  expect(folded.map(({ name, members }) => `${members.length} ${members[0].kind} ${name}`)).toEqual([
    '1 channels patch_embed.proj',
    '3 headDims blocks.0-2.attn.qkv',
    '3 heads blocks.0-2.attn.qkv',
    '3 channels blocks.0-2.mlp.fc1',
  ]);
  expect(folded.flatMap(({ members }) => members).length).toBe(found.groups.length);
  const wider = found.groups.map((group) =>
    group.name === 'blocks.1.mlp.fc1' ? { ...group, units: group.units + 1 } : group,
  );
  expect(foldGroups(wider).map(({ name }) => name)).toContain('blocks.0,2.mlp.fc1');
  expect(foldLeftWhole(found.leftWhole).map(({ name }) => name)).toEqual(['patch_embed.proj', 'head']);
});

it('layer by layer, what is made is what the next reads', () => {
  const sides = layerSides(foldGroups(found.groups), found.leftWhole);
  expect(
    sides.map(({ name, members: [{ reads, makes }] }) => `${name}: ${reads} -> ${makes}`).sort(),
  ).toEqual([
    'blocks.0-2.attn.proj: 1,2 -> 0',
    'blocks.0-2.attn.qkv: 0 -> 1,2',
    'blocks.0-2.mlp.fc1: 0 -> 3',
    'blocks.0-2.mlp.fc2: 3 -> 0',
    'head: 0 -> stays',
    'patch_embed.proj: stays -> 0',
  ]);
});

it('the page leads from each layer to its groups, and escapes names', () => {
  const page = groupsPage('<b>model</b>', { ...found, parameters: 1e6, macs: 1e9, share: 0.5 });
  const ids = new Set([...page.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id));
  const links = [...page.matchAll(/href="#([^"]+)"/g)].map(([, id]) => id);
  expect(links.length).toBeGreaterThan(8);
  for (const link of links) expect(ids).toContain(link);
  expect(page).toContain('&lt;b&gt;model&lt;/b&gt;');
  expect(page).not.toContain('<b>model');
});
