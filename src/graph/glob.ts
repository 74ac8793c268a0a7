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
