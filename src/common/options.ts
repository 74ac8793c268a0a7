import * as z from 'zod';
import { UserError } from './errors.ts';

/**
 * The options of a pass, declared once beside it: an object of which every field has a description
 * (`.meta`) and, where it makes sense, a default and a range. The command line, recipes and their
 * documentation are made from it.
 */
export type OptionsSchema = z.ZodObject;

declare module 'zod' {
  interface GlobalMeta {
    /** What stands for the value in help: `--ratio <r>`. */
    value?: string;
  }
}

/** What a field of a schema says of itself. */
export interface Option {
  /** As recipes and libraries name it: `headDims`. */
  readonly key: string;
  /** As the command line does: `head-dims`; `no-check` turns off a flag `check` that is on by default. */
  readonly name: string;
  readonly description: string;
  readonly kind: 'integer' | 'number' | 'text' | 'flag';
  /** Several values of that kind. */
  readonly list: boolean;
  /** A value of that kind for each of some texts; the command line says `text=value`. */
  readonly map: boolean;
  /** The values there are, where they can be counted. */
  readonly choices: readonly string[] | undefined;
  readonly default: unknown;
  /** It must be given. */
  readonly required: boolean;
  /** What a value must be, after "it must be": `a whole number of at least 1`. */
  readonly wanted: string;
  /** Placeholder of the value; empty for a flag. */
  readonly value: string;
  /** The value that a word of a command line stands for. @throws UserError when it is none */
  parse(text: string): unknown;
}

/** The part of JSON Schema that a field can be. */
interface FieldSchema {
  type?: string;
  description?: string;
  value?: string;
  default?: unknown;
  enum?: string[];
  items?: FieldSchema;
  additionalProperties?: FieldSchema;
  /** A number, or one of some words. */
  anyOf?: FieldSchema[];
  const?: string;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  exclusiveMaximum?: number;
}

/** The options of a schema, in the order in which it declares them. */
export function optionsOf(schema: OptionsSchema): Option[] {
  return Object.entries(schema.shape).map(([key, field]) => optionOf(key, field as z.ZodType));
}

function optionOf(key: string, field: z.ZodType): Option {
  const json = z.toJSONSchema(field, { io: 'input' }) as FieldSchema;
  const map = json.type === 'object' && typeof json.additionalProperties === 'object';
  const words = (json.anyOf ?? []).flatMap((branch) => branch.const ?? []);
  const number = json.anyOf?.find((branch) => branch.const === undefined);
  const item = json.items ?? number ?? (map ? json.additionalProperties! : json);
  const kind = kinds[item.type ?? ''];
  if (!kind) throw new Error(`option ${key}: no command line for ${JSON.stringify(json)}`);
  const list = json.items !== undefined;
  const wanted = [wording(item, kind), ...words].join(' or ');
  const name = key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
  return {
    key,
    name: json.default === true ? `no-${name}` : name,
    description: json.description ?? '',
    kind,
    list,
    map,
    choices: item.enum,
    default: json.default,
    required: json.default === undefined && !field.safeParse(undefined).success,
    wanted: list ? `a list, each ${wanted}` : map ? `a map, each value ${wanted}` : wanted,
    value: kind === 'flag' ? '' : (json.value ?? placeholders[kind]),
    parse(text) {
      const equals = text.lastIndexOf('=');
      const word = map ? text.slice(equals + 1) : text;
      const isText = kind === 'text' || words.includes(word);
      const value = isText ? word : kind === 'flag' ? word === 'true' : numberIn(word);
      const entry = map ? { [text.slice(0, Math.max(0, equals))]: value } : value;
      const { success } = field.safeParse(list ? [value] : entry);
      if (map && (equals < 1 || !success)) throw new UserError(`it must be ${json.value}, ${wanted}`);
      if (!success) throw new UserError(`it must be ${wanted}`);
      return entry;
    },
  };
}

const kinds: Readonly<Record<string, Option['kind']>> = {
  integer: 'integer',
  number: 'number',
  string: 'text',
  boolean: 'flag',
};

const placeholders = { integer: 'n', number: 'x', text: 'name' } as const;

const numberIn = (text: string): number => (text.trim() === '' ? Number.NaN : Number(text));

function wording(json: FieldSchema, kind: Option['kind']): string {
  if (kind === 'flag') return 'true or false';
  if (kind === 'text') return json.enum ? `one of ${json.enum.join(', ')}` : 'text';
  const what = kind === 'integer' ? 'a whole number' : 'a number';
  const { exclusiveMinimum: above, exclusiveMaximum: below } = json;
  const minimum = json.minimum === Number.MIN_SAFE_INTEGER ? undefined : json.minimum;
  const most = json.maximum === Number.MAX_SAFE_INTEGER ? undefined : json.maximum;
  if (above !== undefined && below !== undefined) {
    return `${what} between ${above} and ${below}, both excluded`;
  }
  if (minimum !== undefined && below !== undefined) return `${what} from ${minimum}, below ${below}`;
  if (minimum !== undefined && most !== undefined) return `${what} from ${minimum} to ${most}`;
  if (minimum !== undefined) return `${what} of at least ${minimum}`;
  if (above === undefined) return what;
  return `${what} above ${above}${most === undefined ? '' : `, at most ${most}`}`;
}

/**
 * The input with defaults filled in.
 * @throws UserError naming the first option that is wrong, and what it must be
 */
export function validated<S extends z.ZodType>(schema: S, input: unknown): z.output<S> {
  const result = schema.safeParse(input);
  if (result.success) return result.data;
  throw new UserError(complaint(schema, input, result.error.issues[0]!));
}

function complaint(schema: z.ZodType, input: unknown, { path, code, message, ...issue }: z.core.$ZodIssue) {
  const name = path.join('.');
  if (code === 'unrecognized_keys') {
    const known = Object.keys((fieldAt(schema, path) as OptionsSchema | undefined)?.shape ?? {});
    const unknown = [...path, (issue as z.core.$ZodIssueUnrecognizedKeys).keys[0]].join('.');
    return `no option ${unknown}${known.length ? `; there are ${known.join(', ')}` : ''}`;
  }
  if (code === 'custom') return message;
  const key = path.filter((part) => typeof part === 'string');
  const field = fieldAt(schema, key);
  const parent = fieldAt(schema, key.slice(0, -1));
  const holder = parent && unwrapped(parent);
  const isOption = holder instanceof z.ZodObject || holder instanceof z.ZodRecord;
  if (!field || !isOption || unwrapped(field) instanceof z.ZodObject) {
    return `option ${name || '?'}: ${message}`;
  }
  const given = path.reduce<unknown>((at, part) => (at as Record<PropertyKey, unknown>)?.[part], input);
  const { wanted } = optionOf(String(key.at(-1)), field);
  return given === undefined
    ? `option ${name} is missing: it must be ${wanted}`
    : `option ${name}: it must be ${wanted}, not ${typeof given === 'number' ? given : JSON.stringify(given)}`;
}

/** The schema of a field, without the default or the optionality around it. */
function unwrapped(schema: z.ZodType): z.ZodType {
  let found = schema;
  while (found instanceof z.ZodOptional || found instanceof z.ZodDefault || found instanceof z.ZodPrefault) {
    found = found.unwrap() as z.ZodType;
  }
  return found;
}

function fieldAt(schema: z.ZodType, path: readonly PropertyKey[]): z.ZodType | undefined {
  let found: z.ZodType | undefined = schema;
  for (const key of path) {
    const object: z.ZodType | undefined = found && unwrapped(found);
    found =
      object instanceof z.ZodObject
        ? (object.shape[String(key)] as z.ZodType)
        : object instanceof z.ZodRecord
          ? (object.valueType as z.ZodType)
          : undefined;
  }
  return found && (unwrapped(found) instanceof z.ZodObject ? unwrapped(found) : found);
}
