import type { z } from 'zod';
import { UserError } from './errors.ts';
import { quoted } from './quoted.ts';

/** Levels that a file may nest. What walks over the values after us does so by calling itself. */
const deepest = 100;

/**
 * JSON that comes from elsewhere.
 * @param where it stands, in errors
 * @throws UserError when it is none, or nests too deeply
 */
export function parseJson(text: string, where: string): unknown {
  if (depthOf(text) > deepest) throw new UserError(`${where} nests more than ${deepest} levels deep`);
  try {
    return JSON.parse(text);
  } catch {
    throw new UserError(`${where} is not JSON`);
  }
}

/**
 * JSON of a certain form.
 * @throws UserError as `parseJson`, and naming the first part that is of another form
 */
export function parseJsonAs<S extends z.ZodType>(schema: S, text: string, where: string): z.output<S> {
  return checkedAs(schema, parseJson(text, where), where);
}

/** @throws UserError naming the first part that is of another form */
export function checkedAs<S extends z.ZodType>(schema: S, value: unknown, where: string): z.output<S> {
  const found = schema.safeParse(value);
  if (found.success) return found.data;
  const { path, message } = found.error.issues[0]!;
  const part = path.reduce<unknown>(
    (at, key) => (at as Record<PropertyKey, unknown> | undefined)?.[key],
    value,
  );
  const name = path.length ? `${path.map(String).join('.').slice(0, 80)} is ${quoted(part)}: ` : '';
  throw new UserError(`${where}: ${name}${message}`);
}

/** How deeply brackets nest outside of strings. */
function depthOf(text: string): number {
  let depth = 0;
  let most = 0;
  let inString = false;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (inString) {
      if (code === backslash) i++;
      else if (code === quote) inString = false;
    } else if (code === quote) inString = true;
    else if (code === openList || code === openObject) most = Math.max(most, ++depth);
    else if (code === closeList || code === closeObject) depth--;
  }
  return most;
}

const [quote, backslash, openList, closeList, openObject, closeObject] = [0x22, 0x5c, 0x5b, 0x5d, 0x7b, 0x7d];
