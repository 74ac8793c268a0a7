import type { SweepRow } from './rows.ts';

/** How a model of a sweep was made, in words. */
export function wayText({
  ratio,
  importance,
  compensate,
  dtype,
}: Readonly<Record<'importance' | 'compensate' | 'dtype', string> & { ratio: number }>): string {
  if (ratio === 0) return `dense, ${dtype}`;
  const filled = compensate === 'none' ? '' : `, ${compensate}`;
  return `${importance} ${ratio}${filled}, ${dtype}`;
}

/** `74.53 ± 0.08`, in per cent. */
export const top1Text = ({ top1, top1Error }: SweepRow): string =>
  `${(100 * top1).toFixed(2)}${top1Error === null ? '' : ` ± ${(100 * top1Error).toFixed(2)}`}`;
