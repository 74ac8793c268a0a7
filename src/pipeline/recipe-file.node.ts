import { readFileSync } from 'node:fs';
import { Document, isMap, isScalar, parseDocument, type YAMLMap } from 'yaml';
import { UserError } from '../common/errors.ts';
import { fileError } from '../common/files.node.ts';
import { type OptionsSchema, optionsOf } from '../common/options.ts';
import type { RecipeInput } from './override.ts';
import { exportSections, type Recipe, resultOptions, sourceOptions, stageSections } from './recipe.node.ts';

/**
 * Reads a recipe, YAML or JSON. What is in it is not checked yet.
 * @throws UserError when there is none, or it is neither
 */
export function readRecipe(path: string): RecipeInput {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw fileError(error, `can't read ${path}`);
  }
  return parsedRecipe(text, path);
}

/** A recipe from its text. @param path names it in errors; as `readRecipe` */
export function parsedRecipe(text: string, path: string): RecipeInput {
  const document = parseDocument(text, { prettyErrors: true, logLevel: 'error' });
  const [error] = document.errors;
  if (error) throw new UserError(`${path} is no YAML: ${error.message.split('\n')[0]}`);
  if (!isMap(document.contents)) throw new UserError(`${path} is no recipe: give options and their values`);
  try {
    return document.toJS() as RecipeInput;
  } catch (error) {
    throw new UserError(`${path} is no YAML: ${(error as Error).message}`); // an alias of nothing, or of too much
  }
}

/** A recipe as YAML that `--recipe` reads, with what each option means. */
export function recipeText(recipe: Recipe): string {
  const document = new Document(recipe);
  document.commentBefore = ' pqv optimize --recipe FILE -o DIR';
  const root = document.contents as unknown as YAMLMap;
  for (const schema of [sourceOptions, resultOptions]) explain(root, schema);
  for (const [section, schema] of Object.entries(stageSections))
    explain(sectionOf(document, section), schema);
  for (const [name, schema] of Object.entries(exportSections)) {
    explain(sectionOf(document, 'export', name), schema);
  }
  return document.toString({ lineWidth: 0 });
}

const sectionOf = (document: Document, ...path: string[]): YAMLMap | undefined => {
  const found = document.getIn(path);
  return isMap(found) ? found : undefined;
};

/** Writes what an option means behind its value, or behind its name where the value is a list. */
function explain(map: YAMLMap | undefined, schema: OptionsSchema): void {
  const described = new Map(optionsOf(schema).map(({ key, description }) => [key, description]));
  for (const { key, value } of map?.items ?? []) {
    const description = described.get(String(isScalar(key) ? key.value : key));
    if (description && isScalar(value)) value.comment = ` ${description}`;
  }
}
