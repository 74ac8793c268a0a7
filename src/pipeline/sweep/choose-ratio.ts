import { shortfallText } from '../../report/sweep/budget.ts';
import type { Cell, MeasuredCell } from '../../report/sweep/rows.ts';

/** What a search keeps to; null where nothing is asked. */
export interface SearchBudget {
  readonly maxDrop: number | null;
  readonly targetBytes: number | null;
}

/** What was chosen, and why the search ended there. */
export interface ChosenRatio {
  readonly best: MeasuredCell;
  readonly reasons: string[];
}

/** Ratios that are tried: twentieths, below where nothing sensible is left. */
export const triedRatios = Array.from({ length: 17 }, (_, i) => (i + 1) / 20);

/**
 * Chooses how much to prune by bisection, on the understanding that the more goes, the more is lost and the smaller the file:
 * with a drop the most that keeps to it, with bytes alone the least that meets them. The number type is the one wanted if
 * that alone keeps to the drop, else float32.
 * @param measured makes and measures a model
 */
export async function chooseRatio(
  measured: (ratio: number, dtype: Cell['dtype']) => Promise<MeasuredCell>,
  wanted: Cell['dtype'],
  { maxDrop, targetBytes }: SearchBudget,
): Promise<ChosenRatio> {
  const whole = await measured(0, 'fp32');
  const holds = ({ top1 }: MeasuredCell) => maxDrop === null || 100 * (whole.top1 - top1) <= maxDrop + 1e-9;
  const fits = ({ bytes }: MeasuredCell) => targetBytes === null || bytes <= targetBytes;
  const inType = wanted === 'fp32' ? whole : await measured(0, wanted);
  const start = holds(inType) ? inType : whole;
  const { dtype } = start;
  const search = maxDrop === null ? smallestThat(fits) : largestThat(holds);
  const { best, reason } = await search(start, (ratio) => measured(ratio, dtype));
  const reasons = [reason(maxDrop)];
  if (start !== inType) reasons.push(`${wanted} alone loses more than ${maxDrop} points`);
  if (!fits(best)) {
    const missed = { budget: 'targetBytes', asked: targetBytes!, found: best.bytes } as const;
    reasons.push(`the budget is not met: ${shortfallText([missed])}`);
  }
  return { best, reasons };
}

type Test = (cell: MeasuredCell) => boolean;
type Measure = (ratio: number) => Promise<MeasuredCell>;
interface Found {
  readonly best: MeasuredCell;
  readonly reason: (maxDrop: number | null) => string;
}

const largestThat =
  (holds: Test) =>
  async (start: MeasuredCell, measure: Measure): Promise<Found> => {
    let best = start;
    let [low, high] = [0, triedRatios.length];
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      const cell = await measure(triedRatios[middle]!);
      if (holds(cell)) [low, best] = [middle + 1, cell];
      else high = middle;
    }
    const next = triedRatios[low];
    const reason = (maxDrop: number | null) =>
      next === undefined
        ? `nothing beyond ${triedRatios.at(-1)} is tried`
        : `at ${next} more than ${maxDrop} points are lost`;
    return { best, reason };
  };

const smallestThat =
  (fits: Test) =>
  async (start: MeasuredCell, measure: Measure): Promise<Found> => {
    let best = start;
    let [low, high] = [0, triedRatios.length];
    while (low < high && !fits(start)) {
      const middle = Math.floor((low + high) / 2);
      const cell = await measure(triedRatios[middle]!);
      if (fits(cell)) [high, best] = [middle, cell];
      else low = middle + 1;
      if (!fits(best)) best = cell;
    }
    const reason = () =>
      fits(best) ? 'less pruned is larger' : `nothing beyond ${triedRatios.at(-1)} is tried`;
    return { best, reason };
  };
