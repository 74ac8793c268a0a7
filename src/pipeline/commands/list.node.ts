import { UserError } from '../../common/errors.ts';
import { nearestNames } from '../../common/near-names.ts';
import { globMatcher } from '../../graph/glob.ts';
import { defaultTag, repositoryOf } from '../../zoo/hub-models.node.ts';
import { knownArchitecture } from '../../zoo/registry.ts';
import { timmModels } from '../../zoo/timm-models.ts';
import '../../zoo/timm-models.node.ts';

/** Pretrained weights of a name. */
export interface ListedWeights {
  tag: string;
  /** The repository on the Hub; null where they are elsewhere. */
  repository: string | null;
}

/** One of timm's names. */
export interface ListedModel {
  name: string;
  /** timm's Python module. */
  family: string;
  /** Whether it can be built here. */
  built: boolean;
  parameters: number;
  /** `[C, H, W]`. */
  input: readonly number[];
  /** 0 for a model that gives features. */
  classes: number;
  /** What the name alone stands for first. */
  weights: ListedWeights[];
}

/**
 * timm's names that match a pattern, in alphabetical order.
 * @param pattern with `*` and `?`; without them any name that contains it
 * @throws UserError when none does, naming the nearest
 */
export function listModels(
  pattern = '*',
  { pretrained = false }: { pretrained?: boolean } = {},
): ListedModel[] {
  const { models, defaults } = timmModels();
  const matches = globMatcher([/[*?]/.test(pattern) ? pattern : `*${pattern}*`]);
  const names = Object.keys(models).filter(matches).sort();
  if (names.length === 0) {
    const near = nearestNames(pattern, Object.keys(models));
    throw new UserError(
      `no name of timm's matches "${pattern}"${near.length ? `; did you mean ${near.join(', ')}?` : ''}`,
    );
  }
  return names
    .map((name): ListedModel => {
      const row = models[name]!;
      const first = defaultTag(name, row.tags);
      const tags = first === undefined ? [] : [first, ...row.tags.filter((tag) => tag !== first)];
      return {
        name,
        family: row.class.split('.')[0]!,
        built: knownArchitecture(name) !== undefined,
        parameters: row.parameters,
        input: row.config.input_size ?? defaults.input_size!,
        classes: row.config.num_classes ?? defaults.num_classes,
        weights: tags.map((tag) => ({ tag, repository: repositoryOf(name, tag) ?? null })),
      };
    })
    .filter(({ weights }) => !pretrained || weights.some(({ repository }) => repository !== null));
}
