import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type HubRepository, HubSnapshot } from '../checkpoint/hub/hub.node.ts';
import { indexEnding, readText } from '../checkpoint/open.node.ts';
import { readShardIndex } from '../checkpoint/shards.ts';
import { UserError } from '../common/errors.ts';
import { nearestNames } from '../common/near-names.ts';
import type { ModelReading } from './load-options.ts';
import { preprocessorFile, weightFiles } from './read-model.ts';
import { timmModels } from './timm-models.ts';
import './timm-models.node.ts';

/** `data/timm-hub.json`, written by scripts/timm-hub.py. */
interface TimmHub {
  /** The tag that a name without one stands for, where it is not the first of its tags. */
  readonly defaults: Readonly<Record<string, string>>;
  /** Of `name.tag`, where it is not `timm/name.tag`; null: not on the Hub. */
  readonly repositories: Readonly<Record<string, string | null>>;
}

let table: TimmHub | undefined;
const timmHub = (): TimmHub => {
  table ??= JSON.parse(
    readFileSync(new URL('../zoo/data/timm-hub.json', import.meta.url), 'utf8'),
  ) as TimmHub;
  return table;
};

const prefix = /^(hf-hub:|hf_hub:|hf:\/\/)/;
/** `owner/name`, where the name does not end as a file does, and perhaps `@revision`. */
const idForm =
  /^(?<id>[\w-][\w.-]*\/(?!.*\.(?:onnx|ort|ptl?|safetensors|bin|pth|ckpt|tar|json)(?:@|$))[\w-][\w.-]*)(?:@(?<revision>\w[\w./-]*))?$/;

/** Whether a reference says that it is of the Hub, whatever lies on the disk. */
export const namesHub = (reference: string): boolean => prefix.test(reference);

/**
 * The model of the Hub that a reference names: `owner/name`, `hf-hub:owner/name`, a name of timm's with or without a
 * tag; `@revision` may follow. Nothing when it is none of those.
 * @throws UserError on a name of timm's whose weights are not on the Hub, or that has no such tag
 */
export function hubModel(reference: string): HubRepository | undefined {
  const text = reference.replace(prefix, '');
  const groups = idForm.exec(text)?.groups;
  if (groups && !text.includes('..')) return { id: groups.id!, revision: groups.revision };
  const [name, revision] = text.split('@') as [string, string | undefined];
  const id = timmRepository(name);
  return id === undefined ? undefined : { id, revision };
}

/** The default tag of a name of timm's; nothing when it has no pretrained weights. */
export function defaultTag(name: string, tags: readonly string[]): string | undefined {
  const { defaults } = timmHub();
  return Object.hasOwn(defaults, name) ? defaults[name] : tags[0];
}

/** The repository of a tag of a name; nothing when its weights are not on the Hub. */
export function repositoryOf(name: string, tag: string): string | undefined {
  const { repositories } = timmHub();
  const full = `${name}.${tag}`;
  return Object.hasOwn(repositories, full) ? (repositories[full] ?? undefined) : `timm/${full}`;
}

function timmRepository(reference: string): string | undefined {
  const [name, ...rest] = reference.split('.') as [string, ...string[]];
  const { models } = timmModels();
  if (!Object.hasOwn(models, name)) return undefined;
  const { tags } = models[name]!;
  const tag = rest.length ? rest.join('.') : defaultTag(name, tags);
  if (tag === undefined) return undefined;
  if (!tags.includes(tag)) {
    const near = nearestNames(tag, tags, 1)[0];
    throw new UserError(
      `${name} has no weights "${tag}"${near ? `; did you mean ${name}.${near}?` : `; there are ${tags.join(', ') || 'none'}`}`,
    );
  }
  const repository = repositoryOf(name, tag);
  if (repository) return repository;
  throw new UserError(
    `the weights of ${name}.${tag} are not on the Hub: give their file with --arch ${name}`,
  );
}

/**
 * Sees to it that a model's files are in the cache.
 * @returns the folder that they are in
 * @throws UserError when the model can't be had, or has no weights that are read
 */
export async function hubFolder(model: HubRepository, { offline, progress }: ModelReading): Promise<string> {
  const snapshot = new HubSnapshot(model, { offline, progress });
  if (!(await snapshot.fetch('config.json'))) {
    throw new UserError(`${model.id} has no config.json, so nothing says what it is`);
  }
  const { folder } = snapshot;
  if (readText(join(folder, 'config.json')).includes('"model_type"')) await snapshot.fetch(preprocessorFile);
  for (const name of weightFiles) {
    if (await snapshot.fetch(name)) return folder;
    const index = `${name}${indexEnding}`;
    if (!(await snapshot.fetch(index))) continue;
    const shards = readShardIndex(readText(join(folder, index)), `${model.id}/${index}`);
    for (const shard of new Set(shards.values())) {
      if (await snapshot.fetch(shard)) continue;
      throw new UserError(`${model.id} lacks ${shard}, which its index names`);
    }
    return folder;
  }
  throw new UserError(`${model.id} has none of the weights that are read (${weightFiles.join(', ')})`);
}
