import { recipeParts } from '../src/cli/recipe-options.ts';
import { type Option, optionsOf } from '../src/common/options.ts';
import { resultOptions, sourceOptions } from '../src/pipeline/recipe.node.ts';

const example = `model: examples/mnist_vit
data: mnist
prune:
  ratio: 0.25
  importance: taylor
finetune:
  epochs: 3
  distill: 0.5
formats: [onnx, ort]
`;

const headings: Readonly<Record<string, string>> = {
  prune: '`prune`: which channels and heads go. Left out, nothing is pruned',
  finetune: '`finetune`: how the rest is trained. Left out, it is not',
  quantize: '`quantize`: the number type that ships',
};

/** The page on recipes, with a table of every option. */
export function recipePage(): string {
  const stages = recipeParts.filter(({ path }) => path.length > 0);
  return `# Recipes

What \`pqv optimize\` is to do, in a YAML or JSON file:

\`\`\`yaml
${example}\`\`\`

\`\`\`
pqv optimize --recipe recipe.yaml -o runs/mine
pqv optimize --recipe recipe.yaml -o runs/half --prune 0.5       # options given here go before the recipe's
pqv optimize examples/mnist_vit --data mnist --prune 0.25 --print-recipe > recipe.yaml
\`\`\`

\`--print-recipe\` prints a recipe with every option, its value and what it means. The same is in
\`recipe.yaml\` of every run directory: running it again, in the same folder and with the same threads, gives the
same models. A stage's own command (\`pqv prune\`, \`pqv finetune\`, \`pqv quantize\`, \`pqv export\`) has the same
options with the same defaults, each by its name: \`--round-to\` is \`roundTo\`.

This page is made from the schemas that the passes declare.

## At the top

${table([...optionsOf(sourceOptions), ...optionsOf(resultOptions)], flagsAtTheTop())}
${stages
  .map(({ schema, path, flags }) => {
    const [section, format] = path;
    const title = format ? `\`export.${format}\`: what the format ${format} is told` : headings[section!];
    return `## ${title}\n\n${table(optionsOf(schema), flags)}`;
  })
  .join('\n')}`;
}

const flagsAtTheTop = () =>
  Object.assign({}, ...recipeParts.filter(({ path }) => path.length === 0).map(({ flags }) => flags));

function table(options: readonly Option[], flags: Readonly<Record<string, string>>): string {
  const rows = options.map((option) => {
    const flag = option.key === 'model' ? '`MODEL`' : `\`--${flags[option.key] ?? option.name}\``;
    return [`\`${option.key}\``, flag, option.description, wanted(option), usual(option)];
  });
  const cells = [
    ['option', 'of `optimize`', 'what it is', 'must be', 'default'],
    Array(5).fill('---'),
    ...rows,
  ];
  return `${cells.map((row) => `| ${row.map((cell) => cell.replaceAll(/[|*]/g, '\\$&')).join(' | ')} |`).join('\n')}\n`;
}

const wanted = ({ wanted, kind }: Option): string => (kind === 'flag' ? 'true or false' : wanted);

const usual = ({ default: value, required }: Option): string => {
  if (value === undefined) return required ? '(needed)' : '';
  return `\`${JSON.stringify(value)}\``;
};
