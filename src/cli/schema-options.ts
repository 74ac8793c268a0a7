import { type Command, Option as CommandOption, InvalidArgumentError } from 'commander';
import type { Option } from '../common/options.ts';

/**
 * Adds options as a pass declares them. A list of choices or numbers is given as one word (`onnx,ort`), a list of
 * texts or a map by giving the option again, a flag that is on by default with `no-` before it.
 * @param names flags that differ from the options' own names, by key
 */
export function addOptions(
  target: Command,
  options: readonly Option[],
  names: Readonly<Record<string, string>> = {},
): Command {
  for (const option of options) target.addOption(commandOption(option, names[option.key] ?? option.name));
  return target;
}

function commandOption(option: Option, name: string): CommandOption {
  const value = option.value && ` <${isOneWord(option) ? 'list' : option.value}>`;
  const made = new CommandOption(`--${name}${value}`, describe(option));
  if (option.kind !== 'flag') made.argParser(parser(option));
  if (option.choices) made.argChoices = [...option.choices];
  if (option.required) made.makeOptionMandatory();
  const usual = option.default;
  if (usual !== undefined && usual !== false) {
    made.default(usual, shown(usual));
  }
  return made;
}

/** A default as help shows it; undefined: as it is. */
function shown(usual: unknown): string | undefined {
  if (Array.isArray(usual)) return usual.join(',') || 'none';
  return typeof usual === 'object' ? 'none' : undefined;
}

const isOneWord = ({ list, choices, kind }: Pick<Option, 'list' | 'choices' | 'kind'>): boolean =>
  list && (choices !== undefined || kind !== 'text');

function describe({ description, default: usual, ...option }: Option): string {
  if (usual === true) return `don't ${description}`;
  return option.map || (option.list && !isOneWord(option))
    ? `${description}; may be given again`
    : description;
}

function parser(option: Option): (text: string, before: unknown) => unknown {
  const one = (text: string) => {
    try {
      return option.parse(text);
    } catch (error) {
      throw new InvalidArgumentError(sentence((error as Error).message));
    }
  };
  if (option.map) return (text, before) => ({ ...(before as object), ...(one(text) as object) });
  if (!option.list) return one;
  if (isOneWord(option)) return (text) => text.split(',').map((word) => one(word.trim()));
  return (text, before) => [...(before === option.default ? [] : (before as unknown[])), one(text)];
}

const sentence = (text: string): string => `${text[0]!.toUpperCase()}${text.slice(1)}.`;

/** The values of the given options that are set, by key. */
export function valuesOf(
  target: Command,
  options: readonly Option[],
  names: Readonly<Record<string, string>> = {},
): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  for (const option of options) {
    const value = target.getOptionValue(attribute(names[option.key] ?? option.name));
    if (value !== undefined) values[option.key] = value;
  }
  return values;
}

/** Of those the ones that were given on the command line. */
export function givenOf(
  target: Command,
  options: readonly Option[],
  names: Readonly<Record<string, string>> = {},
): Record<string, unknown> {
  const given = ({ key, name }: Option) =>
    target.getOptionValueSource(attribute(names[key] ?? name)) === 'cli';
  return valuesOf(target, options.filter(given), names);
}

/** What commander calls the value of a flag. */
const attribute = (name: string): string =>
  name.replace(/^no-/, '').replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
