import { printable } from '../common/printable.ts';
import type { ContentsTensor, ContentsWeights, FileContents } from '../export/file-contents.ts';
import type { FileCardInspection, FileInspection } from '../pipeline/commands/inspect-file.node.ts';
import { formatBytes } from '../report/format.ts';
import { preprocessingLine } from '../zoo/model-info.ts';
import { columns, count } from './columns.ts';
import { aligned, namesOf, type Row } from './format-inspection.ts';

/** A file for a runtime: what it is, what it takes and gives, its operators. Any text in it is made fit for a terminal. */
export function formatFile({ file, format, about, bytes, contents, card }: FileInspection): string {
  const written = contents?.writtenBy ? `, written by ${contents.writtenBy}` : '';
  const rows: Row[] = [
    ['file', `${formatBytes(bytes)}, ${format}${written}`],
    ['for', about],
    ...(contents ? rowsOf(contents) : ([['inside', 'files of this format are not looked into']] as const)),
    ...cardRows(card, contents?.model != null),
  ];
  const operators = Object.entries(contents?.operators ?? {});
  const clean = rows.map(([label, text]): Row => [label, printable(text)]);
  return [
    `${printable(file)}\n${aligned(clean)}`,
    ...(operators.length > 0
      ? [
          columns(
            ['operator', 'times'],
            operators.map(([name, times]) => [printable(name), count(times)]),
          ),
        ]
      : []),
  ].join('\n\n');
}

function rowsOf({ inputs, outputs, weights, model, metadata, remarks }: FileContents): Row[] {
  const rows: Row[] = [
    ...listed('input', inputs.map(tensorLine)),
    ...listed('output', outputs.map(tensorLine)),
  ];
  rows.push(...listed('weights', weights.length > 0 ? weights.map(weightsLine) : ['none']));
  if (model) {
    const { architecture, precision, preprocessing, classNames, history } = model;
    const { from, ...own } = preprocessing;
    rows.push(['model', [architecture ?? 'an imported graph', precision ?? 'full precision'].join(', ')]);
    rows.push([
      'images',
      preprocessingLine({ preprocessing: own, preprocessingFrom: from === 'model' ? undefined : from }),
    ]);
    rows.push(['classes', classNames ? `${count(classNames.length)}${namesOf(classNames)}` : 'no names']);
    rows.push(...listed('history', history));
  } else rows.push(['model', 'it does not say: no notes of ours are in it']);
  if (metadata.length > 0) {
    const more = metadata.length > 8 ? ', ...' : '';
    rows.push([
      'metadata',
      `${metadata
        .slice(0, 8)
        .map(({ name, bytes }) => `${name} (${formatBytes(bytes)})`)
        .join(', ')}${more}`,
    ]);
  }
  return [...rows, ...listed('note', remarks)];
}

/** Inputs, outputs or lines of one kind that are shown at most. */
const most = 16;

const listed = (label: string, lines: readonly string[]): Row[] => [
  ...lines.slice(0, most).map((line, i): Row => [i === 0 ? label : '', line]),
  ...(lines.length > most ? [['', `and ${lines.length - most} more`] as const] : []),
];

function tensorLine({ name, tensor, dtype, shape, quantization }: ContentsTensor): string {
  const called = tensor === name ? '' : `, tensor ${tensor}`;
  const scaled = quantization
    ? `, real = ${quantization.scale.toPrecision(6)} * (stored - ${quantization.zeroPoint})`
    : '';
  return `${name}  ${dtype} [${shape?.map((dim) => (dim === -1 ? '?' : dim)).join(', ') ?? '?'}]${scaled}${called}`;
}

const scaleWords = {
  channel: ', a scale a channel',
  tensor: ', a scale a tensor',
  mixed: ', a scale a channel or a tensor',
} as const;

const weightsLine = ({ dtype, tensors, bytes, scales }: ContentsWeights): string =>
  `${dtype}  ${formatBytes(bytes)} in ${count(tensors)} tensor${tensors === 1 ? '' : 's'}${scales ? scaleWords[scales] : ''}`;

/** @param told how images are prepared stands above already */
function cardRows(card: FileCardInspection | null, told: boolean): Row[] {
  if (!card) return [['card', 'none beside it (NAME.json): pqv export writes one']];
  const { file, fits, precision, inputs, outputs, image, scores, classNames, golden } = card;
  if (!fits) return [['card', `${file} is of another file: its sha256 differs`]];
  const tensors = (list: FileCardInspection['inputs']) =>
    list.map(({ name, dtype, shape }) => `${name} ${dtype ?? '?'} [${shape.join(', ')}]`).join(', ');
  const rows: string[] = [
    `${file} fits: ${precision}, takes ${tensors(inputs)}, gives ${tensors(outputs)}${scores ? `, ${scores}` : ''}`,
  ];
  if (image) {
    const { preprocessing, assumed, layout, scale, offset } = image;
    const prepared = preprocessingLine({ preprocessing, preprocessingFrom: assumed ? 'assumed' : undefined });
    const values = `${layout}, value = pixel * ${scale.map(short).join(', ')} + ${offset.map(short).join(', ')}`;
    rows.push(told ? values : `${prepared}; ${values}`);
  }
  rows.push(classNames ? `${count(classNames.length)} classes${namesOf(classNames)}` : 'no names of classes');
  rows.push(
    golden
      ? `golden sample: best ${golden.top5.map(({ index, score }) => `${index} (${short(score)})`).join(', ')}, within ${short(golden.tolerance)}`
      : 'no golden sample',
  );
  return rows.map((line, i): Row => [i === 0 ? 'card' : '', line]);
}

const short = (value: number): string => `${+value.toPrecision(4)}`;
