import type { GroupDescription, GroupsDescription } from '../../prune/describe-groups.ts';
import type { LeftWhole } from '../../prune/left-whole.ts';
import { formatCount, formatMacs } from '../format.ts';
import { html, type Markup } from '../markup.ts';
import { pageOf } from '../page.ts';
import {
  coupledByRole,
  type Folded,
  foldGroups,
  foldLeftWhole,
  roleTitles,
  rulesOf,
  unitsText,
} from './fold.ts';
import { type LayerSides, layerSides } from './layers.ts';

/** What the page says of the model itself. */
export interface GroupsOf extends GroupsDescription {
  readonly parameters: number;
  /** Multiply-accumulates of an image. */
  readonly macs: number;
  /** Share of the parameters that have channels in a group. */
  readonly share: number;
}

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

/**
 * What pruning can take out of a model as one page that needs nothing else: the groups with their work, layer by layer which
 * channels are the same, and what stays.
 */
export function groupsPage(model: string, { groups, leftWhole, parameters, macs, share }: GroupsOf): string {
  const shown = foldGroups(groups);
  const whole = foldLeftWhole(leftWhole);
  const title =
    groups.length === 0
      ? 'no channel can be pruned'
      : `${groups.length} groups of channels over ${percent(share)} of the parameters`;
  const tile = (label: string, value: string, more: string) =>
    html`<div class="tile"><span>${label}</span><b>${value}</b><span>${more}</span></div>`;
  const kinds = (kind: GroupDescription['kind']) => groups.filter((group) => group.kind === kind).length;
  return pageOf(
    `${model}: ${title}`,
    html`<header>
<p class="kicker">${model}</p>
<h1>${title}</h1>
</header>
<div class="tiles">
${tile('parameters', formatCount(parameters), `${percent(share)} in a group`)}
${tile('MACs', formatMacs(macs), 'an image')}
${tile('groups of channels', String(kinds('channels')), 'embedding, hidden units')}
${tile('attentions', String(new Set(groups.flatMap(({ kind, name }) => (kind === 'channels' ? [] : [name]))).size), `${kinds('headDims')} by dimensions, ${kinds('heads')} by heads`)}
</div>
${shown.length > 0 && groupsSection(shown)}
${layersSection(layerSides(shown, leftWhole), shown)}
${whole.length > 0 && wholeSection(whole)}`,
  );
}

/** What colours say. */
const colours: readonly [name: string, title: string][] = [
  ['residual', 'residual stream'],
  ['channels', 'channels'],
  ['headDims', 'head dimensions'],
  ['heads', 'heads'],
];

const colourOf = ({ residual, kind }: GroupDescription): string =>
  residual && kind === 'channels' ? 'residual' : kind;

const chip = (number: number, group: GroupDescription, target?: string): Markup =>
  target
    ? html`<a class="chip ${colourOf(group)}" href="#${target}" aria-label="group ${number + 1}, ${group.name}">${number + 1}</a>`
    : html`<span class="chip ${colourOf(group)}">${number + 1}</span>`;

const idOf = (number: number): string => `group-${number + 1}`;

function groupsSection(groups: readonly Folded<GroupDescription>[]): Markup {
  const used = new Set(groups.map(({ members: [first] }) => colourOf(first)));
  return html`<section>
<h2>Groups</h2>
<p>What goes together when a channel goes. The bar is the share of the model’s multiply-accumulates that become fewer; an operator between two groups counts in both. Where blocks are alike the bar is all of them, the darker part one. Open a group to see its parameters and axes.</p>
<ul class="legend">${colours.filter(([name]) => used.has(name)).map(([name, title]) => html`<li><span class="chip ${name}"></span>${title}</li>`)}</ul>
<div class="groups">
${groups.map(groupEntry)}</div>
</section>`;
}

function groupEntry(group: Folded<GroupDescription>, number: number): Markup {
  const { name, members } = group;
  const [first] = members;
  const all = Math.min(1, members.length * first.macsShare);
  const width = (share: number) => `${(100 * share).toFixed(2)}%`;
  return html`<details id="${idOf(number)}">
<summary>${chip(number, first)}<b>${name}</b><span>${members.length > 1 && `${members.length} times `}${unitsText(first)}</span><data value="${first.macs}">${percent(first.macsShare)}${members.length > 1 && ' each'}</data>
<span class="share ${colourOf(first)}" aria-hidden="true"><i style="width: ${width(all)}"></i><i style="width: ${width(first.macsShare)}"></i></span></summary>
<dl>
${coupledByRole(group).map(({ role, axes }) => html`<dt>${roleTitles[role]}</dt><dd>${axes.map((axis) => html`<code>${axis}</code> `)}</dd>`)}
${rulesOf(group).map((rule) => html`<dt>rule</dt><dd>${rule}</dd>`)}
<dt>MACs</dt><dd>${formatMacs(first.macs)} an image${members.length > 1 && ', each'}</dd>
</dl>
</details>
`;
}

function layersSection(
  layers: readonly Folded<LayerSides>[],
  groups: readonly Folded<GroupDescription>[],
): Markup | undefined {
  if (layers.length === 0) return undefined;
  const cell = (sides: readonly (number | 'stays')[]) =>
    sides.map((side) =>
      side === 'stays'
        ? html`<span class="stays">stay</span>`
        : chip(side, groups[side]!.members[0], idOf(side)),
    );
  return html`<section>
<h2>Layer by layer</h2>
<p>The channels that a layer reads and makes, by the number of their group.</p>
<table class="sides">
<thead><tr><th scope="col">layer</th><th scope="col">reads</th><th scope="col">makes</th></tr></thead>
<tbody>
${layers.map(
  ({ name, members: [{ reads, makes }] }) =>
    html`<tr><th scope="row">${name}</th><td>${cell(reads)}</td><td>${cell(makes)}</td></tr>
`,
)}</tbody>
</table>
</section>`;
}

const wholeSection = (layers: readonly Folded<LeftWhole>[]): Markup => html`<section>
<h2>What stays</h2>
<p>Channels and heads that no pruning takes, and what stands in the way.</p>
<ul class="artifacts">
${layers.map(
  ({ name, members: [{ channels, side, why, at }] }) =>
    html`<li><code>${name}</code><data value="${channels}">${channels.toLocaleString('en')} ${side}</data><span>${why}${at !== null && html`: <code>${at}</code>`}</span></li>
`,
)}</ul>
</section>`;
