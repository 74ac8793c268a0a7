/** Characters of anything from a file that a message repeats. */
const limit = 80;

/**
 * Something that a file holds, as a message may repeat it: on one line, control characters escaped, cut where it
 * gets long, and never walked to the ground, since a file may nest as deep as it likes.
 */
export function quoted(value: unknown): string {
  if (typeof value === 'string') {
    const text = JSON.stringify(value.slice(0, limit));
    return value.length > limit ? `${text}…` : text;
  }
  if (Array.isArray(value)) {
    const items = value.slice(0, 8).map((item) => (typeof item === 'object' && item ? '…' : quoted(item)));
    return `[${items.join(', ')}${value.length > 8 ? ', …' : ''}]`.slice(0, limit);
  }
  return typeof value === 'object' && value !== null ? '{…}' : String(value).slice(0, limit);
}
