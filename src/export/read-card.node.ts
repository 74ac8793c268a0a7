import { existsSync } from 'node:fs';
import { readText } from '../checkpoint/open.node.ts';
import { parseJsonAs } from '../common/json.ts';
import { type Card, cardSchema } from './card-schema.ts';

/** Where the card of a file lies. */
export const cardOf = (path: string): string => `${path}.json`;

/** The card of a file, where it has one. @throws UserError when it is damaged */
export function readCard(path: string): Card | undefined {
  const place = cardOf(path);
  return existsSync(place) ? parseJsonAs(cardSchema, readText(place), place) : undefined;
}
