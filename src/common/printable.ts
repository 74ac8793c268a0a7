/** A message has at most so many characters: whatever a file holds, it stays one line that can be read. */
const longest = 500;

/**
 * Text from anywhere as one line for a terminal: control characters are escaped (names of files and tensors can hold
 * any), and a long line is cut in the middle.
 */
export function printable(text: string): string {
  const line = text.replace(unprintable, (character) =>
    JSON.stringify(character).slice(1, -1).replace(raw, escaped),
  );
  if (line.length <= longest) return line;
  const half = (longest - 5) / 2;
  return `${line.slice(0, Math.ceil(half))} ... ${line.slice(-Math.floor(half))}`;
}

/** Control characters of both sets, what changes the direction of writing, and lone halves of pairs. */
const unprintable = /[\p{Cc}\p{Cs}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu;
const raw = /[^\x20-\x7e]/g;
const escaped = (character: string) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
