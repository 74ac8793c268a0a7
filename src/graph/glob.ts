import { UserError } from '../common/errors.ts';
import { nearestNames } from '../common/near-names.ts';

/**
 * Says whether a name matches one of the patterns. In a pattern `*` stands for any run of characters
 * (dots included) and `?` for one: `blocks.0.*`, `*.mlp.fc?.weight`.
 */
export function globMatcher(patterns: readonly string[]): (name: string) => boolean {
  const expressions = patterns.map((pattern) => {
    const escaped = pattern.replace(/[.+^${}()|[\]\\]/g, '\\$&');
    return new RegExp(`^${escaped.replaceAll('*', '.*').replaceAll('?', '.')}$`, 's');
  });
  return (name) => expressions.some((expression) => expression.test(name));
}

/**
 * @param option whose patterns they are
 * @throws UserError naming the first pattern that none of the names matches, and patterns like it that some do
 */
export function assertMatches(option: string, patterns: readonly string[], names: readonly string[]): void {
  const wrong = patterns.find((pattern) => !names.some(globMatcher([pattern])));
  if (wrong === undefined) return;
  const near = nearPatterns(wrong, names);
  const hint = near.length > 0 ? `; did you mean ${near.join(', ')}?` : '';
  throw new UserError(`${option}: no tensor of the model matches "${wrong}"${hint}`);
}

/** Of patterns with wildcards at the same ends, and perhaps for numbers, those nearest to one. */
function nearPatterns(pattern: string, names: readonly string[]): string[] {
  const [first, last] = [pattern.startsWith('*'), pattern.endsWith('*')];
  const candidates = names.flatMap((name) => {
    const parts = name.split('.');
    return [parts, parts.map((part) => (/^\d+$/.test(part) ? '*' : part))].flatMap((words) =>
      words.flatMap((_, start) =>
        words
          .map((_, end) => [start, end + 1] as const)
          .filter(([from, to]) => from < to && from > 0 === first && to < words.length === last)
          .map(([from, to]) =>
            [first && '*', ...words.slice(from, to), last && '*'].filter(Boolean).join('.'),
          ),
      ),
    );
  });
  return nearestNames(pattern, new Set(candidates));
}
