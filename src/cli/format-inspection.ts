import type { Obstacle } from '../library/capabilities.ts';
import type { Inspection } from '../library/inspect.ts';
import { formatBytes } from '../report/format.ts';
import { preprocessingLine } from '../zoo/model-info.ts';
import { columns, count } from './columns.ts';
import { gmacs } from './format.ts';
import { formatGroups } from './format-groups.ts';

/**
 * What a model is, its blocks, and what can be done with it.
 * @param all every group of channels by itself
 */
export function formatInspection(found: Inspection, all = false): string {
  const sections = [
    `${found.architecture ?? 'imported graph'}${found.className ? ` (timm's ${found.className})` : ''}`,
    aligned(facts(found)),
    found.blocks.length ? blockTable(found.blocks) : undefined,
    aligned(abilities(found)),
    ...formatGroups(found, all),
  ];
  return sections
    .filter((section) => section !== undefined)
    .join('\n\n')
    .replace('\n\n', '\n');
}

export type Row = readonly [label: string, text: string];

/** A label and a text a line. */
export const aligned = (rows: readonly Row[]): string =>
  rows.map(([label, text]) => `  ${label.padEnd(12)}  ${text}`).join('\n');

function facts(found: Inspection): Row[] {
  const { preprocessing, classes, outputs, classNames, history } = found;
  const { from, ...own } = preprocessing;
  const images = preprocessingLine({
    preprocessing: own,
    preprocessingFrom: from === 'model' ? undefined : from,
  });
  const size = [`${count(found.parameters)}, ${formatBytes(found.bytes)}`, found.precision ?? 'float32'];
  const names = classNames ? namesOf(classNames) : '';
  return [
    ['parameters', [...size, ...(found.stateHash ? [`state hash ${found.stateHash}`] : [])].join(', ')],
    ['MACs', `${gmacs(found.macs)} an image${leftOut(found)}`],
    ['input', `[${found.input.join(', ')}]`],
    ['images', images],
    [
      'output',
      classes
        ? `${count(classes)} classes${names}`
        : `${outputs === null ? '' : `${count(outputs)} `}features, no classifier`,
    ],
    ['file', `operator set ${found.opset}${found.producer ? `, written by ${found.producer}` : ''}`],
    ...history.map((line, i): Row => [i === 0 ? 'history' : '', line]),
  ];
}

/** `: tench, goldfish, great white shark, ...` */
export const namesOf = (names: readonly string[]): string =>
  `: ${names.slice(0, 3).join(', ')}${names.length > 3 ? ', ...' : ''}`;

/** What the count is without. */
const leftOut = ({ uncounted: [first, ...others] }: Inspection): string =>
  first === undefined
    ? ''
    : `, without ${others.length ? `${others.length + 1} nodes whose work is not known, the first ` : ''}${first}`;

/** Neighbours that are alike share a row. */
function blockTable(blocks: Inspection['blocks']): string {
  const rows: { first: string; last: string; count: number; sizes: string[] }[] = [];
  for (const { name, embedDim, numHeads, headDim, mlpHidden } of blocks) {
    const heads = numHeads === null || headDim === null ? '-' : `${numHeads} x ${headDim}`;
    const sizes = [`${embedDim ?? '-'}`, heads, `${mlpHidden ?? '-'}`];
    const before = rows.at(-1);
    if (before && `${before.sizes}` === `${sizes}`) {
      before.last = name;
      before.count++;
    } else rows.push({ first: name, last: name, count: 1, sizes });
  }
  return columns(
    ['blocks', 'count', 'embed', 'heads', 'MLP'],
    rows.map(({ first, last, count, sizes }) => [
      count === 1 ? first : `${first} to ${last}`,
      `${count}`,
      ...sizes,
    ]),
  );
}

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

const listed = (obstacles: readonly Obstacle[]): string =>
  obstacles
    .map(({ op, nodes, first }) => `${op} (${nodes === 1 ? first : `${nodes} nodes, first ${first}`})`)
    .join(', ');

function abilities({ can, precision }: Inspection): Row[] {
  const { prune, train, int8, torchscript } = can;
  if (precision)
    return [
      ['quantized', 'prune and finetune the model in full precision it was made from'],
      exports(torchscript),
    ];
  const kept = prune.keptAround.length ? `; channels stay around ${listed(prune.keptAround)}` : '';
  return [
    [
      'prune',
      prune.groups
        ? `${prune.groups} groups over ${percent(prune.share)} of the parameters${kept}`
        : `no${kept}`,
    ],
    ['finetune', train.obstacles.length ? `no: no gradient of ${listed(train.obstacles)}` : 'yes'],
    [
      'int8',
      int8.layers
        ? `${int8.layers} linear layers and convolutions, ${percent(int8.share)} of the parameters`
        : 'no: no linear layers or convolutions',
    ],
    exports(torchscript),
  ];
}

function exports({ obstacles, refusal }: Inspection['can']['torchscript']): Row {
  const why = obstacles.length ? `no form of ${listed(obstacles)}` : refusal;
  return ['export', why ? `onnx, ort; not torchscript or ptl: ${why}` : 'onnx, ort, torchscript, ptl'];
}
