import { UserError } from '../common/errors.ts';
import type { LatencyModel } from './latency-model.ts';

/** Groups that get one width. */
export interface WidthChoice {
  readonly groups: readonly number[];
  /** The widest, where nothing is pruned, first. */
  readonly widths: readonly number[];
  /** What each width costs: 0 for the first, and growing. */
  readonly losses: readonly number[];
}

/**
 * The widths that lose least of those that the model takes at most `milliseconds` with.
 *
 * Greedy: from nothing pruned, whatever narrowing costs least for the time that it saves, over all widths and not only the
 * next, so that a flat stretch of times is passed in one step. Then widths are given back, and exchanged one for
 * another, while that loses less and still fits.
 * @param start widths of all groups; those of no choice stay
 * @returns widths of all groups
 * @throws UserError naming the least that is reached, when that is more
 */
export function widthsForLatency(
  model: LatencyModel,
  choices: readonly WidthChoice[],
  start: readonly number[],
  milliseconds: number,
  scale: number,
): number[] {
  const widths = [...start];
  const at = choices.map(() => 0);
  const set = (choice: number, place: number) => {
    at[choice] = place;
    for (const group of choices[choice]!.groups) widths[group] = choices[choice]!.widths[place]!;
  };
  const time = () => scale * model.milliseconds(widths);
  const loss = (choice: number, place: number) => choices[choice]!.losses[place]!;
  /** The time with one choice at another place. */
  const timeWith = (choice: number, place: number) => {
    const before = at[choice]!;
    set(choice, place);
    const result = time();
    set(choice, before);
    return result;
  };
  for (const choice of choices.keys()) set(choice, 0);
  assertReachable();
  for (let now = time(); now > milliseconds; now = time()) {
    const move = bestNarrowing(now);
    set(move.choice, move.place);
  }
  for (let better = true; better; ) better = giveBack() || exchange();
  return widths;

  function assertReachable(): void {
    for (const [i, choice] of choices.entries()) set(i, choice.widths.length - 1);
    const least = time();
    if (least > milliseconds) {
      throw new UserError(
        `pruning can't go below ${least.toFixed(2)} ms, asked for ${milliseconds} ms: the narrowest widths measured`,
      );
    }
    for (const choice of choices.keys()) set(choice, 0);
  }

  function bestNarrowing(now: number): { choice: number; place: number } {
    let best: { choice: number; place: number; price: number } | undefined;
    let fitting: { choice: number; place: number; cost: number } | undefined;
    choices.forEach((choice, i) => {
      for (let place = at[i]! + 1; place < choice.widths.length; place++) {
        const cost = loss(i, place) - loss(i, at[i]!);
        const after = timeWith(i, place);
        const price = cost / (now - after);
        if (after < now && (!best || price < best.price)) best = { choice: i, place, price };
        if (after <= milliseconds && (!fitting || cost < fitting.cost)) fitting = { choice: i, place, cost };
      }
    });
    if (!best) throw new UserError(`no narrower width saves time any more, at ${now.toFixed(2)} ms`);
    // The last step need not save more than is wanted.
    const reaches = timeWith(best.choice, best.place) <= milliseconds;
    return reaches && fitting ? fitting : best;
  }

  function giveBack(): boolean {
    let best: { choice: number; place: number; gain: number } | undefined;
    choices.forEach((_, i) => {
      for (let place = 0; place < at[i]!; place++) {
        const gain = loss(i, at[i]!) - loss(i, place);
        if (gain > (best?.gain ?? 0) && timeWith(i, place) <= milliseconds) best = { choice: i, place, gain };
      }
    });
    if (best) set(best.choice, best.place);
    return best !== undefined;
  }

  /** One choice a width wider, another as much narrower as that needs. */
  function exchange(): boolean {
    for (const [wider, place] of [...at.entries()]) {
      if (place === 0) continue;
      const gain = loss(wider, place) - loss(wider, place - 1);
      set(wider, place - 1);
      for (const [other, choice] of choices.entries()) {
        if (other === wider) continue;
        for (let next = at[other]! + 1; next < choice.widths.length; next++) {
          if (loss(other, next) - loss(other, at[other]!) >= gain * (1 - 1e-9)) break;
          if (timeWith(other, next) > milliseconds) continue;
          set(other, next);
          return true;
        }
      }
      set(wider, place);
    }
    return false;
  }
}
