import type { Graph } from '../graph/graph.ts';
import { modelParameters } from '../graph/learned.ts';
import { type ResidualBranch, residualBranches } from '../graph/residual.ts';

/**
 * The residual branches of each block, from the input on; a block may have none that were found. Blocks are the numbered
 * modules (`blocks.3.`, `stages.1.blocks.0.`) of the form that most branches are in; branches elsewhere, of stems and
 * the like, are left out. Where nothing is numbered, each branch is a block.
 */
export function residualBlocks(graph: Graph): ResidualBranch[][] {
  const branches = residualBranches(graph);
  const names = modelParameters(graph).map(({ name }) => name);
  const known = new Set(names);
  const modules = branches.map((branch) => commonest(parametersOn(branch, known).flatMap(numberedModules)));
  const form = commonest(modules.flatMap((module) => (module ? [formOf(module)] : [])));
  if (form === undefined) return branches.map((branch) => [branch]);
  const ofForm = new RegExp(`^${form.replaceAll(/[^\w#]/g, '\\$&').replaceAll('#', '\\d+')}`);
  const blocks = [...new Set(names.flatMap((name) => ofForm.exec(name)?.[0] ?? []))];
  return blocks.map((block) => branches.filter((_, i) => modules[i] === block));
}

/** Names of the parameters that a branch reads. */
const parametersOn = ({ nodes }: ResidualBranch, known: ReadonlySet<string>): string[] =>
  nodes
    .flatMap(({ inputs }) => inputs.map((input) => (input?.producer ? input.producer.inputs[0] : input)))
    .flatMap((value) => (value?.isConstant && known.has(value.name) ? [value.name] : []));

/** The numbered modules that a name is in, the innermost first: `blocks.3.` of `blocks.3.attn.qkv.weight`. */
function numberedModules(name: string): string[] {
  const parts = name.split('.');
  return parts
    .flatMap((part, i) => (/^\d+$/.test(part) ? [`${parts.slice(0, i + 1).join('.')}.`] : []))
    .reverse();
}

const formOf = (module: string): string => module.replaceAll(/\d+/g, '#');

/** The first of those that there are most of. */
function commonest(values: readonly string[]): string | undefined {
  const counts = new Map<string, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  const most = Math.max(...counts.values());
  return [...counts].find(([, count]) => count === most)?.[0];
}
