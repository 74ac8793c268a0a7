#!/usr/bin/env node
/**
 * Writes src/zoo/data/timm-models.json from a table of timm's architectures.
 *
 *   node scripts/timm-models.mjs PATH/TO/models.json
 *
 * The table is one JSON object, name -> { module, class, kwargs, params, tensors, stateHash, cfg, variants }.
 * What most entries share is left out of each line and named once in `defaults`. A module that an entry
 * point makes itself, which the table prints as PyTorch does, is left at its class: { "made": "HybridEmbed" };
 * the family's `namedArgs` knows it.
 */
import { readFileSync, writeFileSync } from 'node:fs';

const [path] = process.argv.slice(2);
if (!path) {
  console.error('usage: node scripts/timm-models.mjs MODELS.json');
  process.exit(2);
}
const models = JSON.parse(readFileSync(path, 'utf8'));
const defaults = {
  input_size: [3, 224, 224],
  fixed_input_size: true,
  num_classes: 1000,
  interpolation: 'bicubic',
  crop_pct: 0.9,
  crop_mode: 'center',
  mean: [0.485, 0.456, 0.406],
  std: [0.229, 0.224, 0.225],
  first_conv: 'patch_embed.proj',
  classifier: 'head',
};

const printedModule = /^(\w+)\(\n/;
function plain(value) {
  if (typeof value === 'string') {
    const module = printedModule.exec(value)?.[1];
    return module ? { made: module } : value;
  }
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item)]));
}

const lines = Object.entries(models).map(([name, entry]) => {
  const config = Object.fromEntries(
    Object.keys(defaults)
      .filter((key) => JSON.stringify(entry.cfg[key]) !== JSON.stringify(defaults[key]))
      .map((key) => [key, entry.cfg[key] ?? null]),
  );
  const tags = entry.variants.filter((v) => v.startsWith(`${name}.`)).map((v) => v.slice(name.length + 1));
  const row = {
    class: `${entry.module}.${entry.class}`,
    args: plain(entry.kwargs),
    config,
    parameters: entry.params,
    tensors: entry.tensors,
    stateHash: entry.stateHash,
    tags,
  };
  return `${JSON.stringify(name)}:${JSON.stringify(row)}`;
});
const text = `{"timm":"1.0.29",\n"defaults":${JSON.stringify(defaults)},\n"models":{\n${lines.join(',\n')}\n}}\n`;
JSON.parse(text);
writeFileSync(new URL('../src/zoo/data/timm-models.json', import.meta.url), text);
