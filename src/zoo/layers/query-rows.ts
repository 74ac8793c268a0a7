import type { StateShapes } from '../state.ts';

/** Rows of a parameter: its name, the first row, and the one after the last. */
export type RowRange = readonly [name: string, first: number, end: number];

/** The rows of a module's weight and bias, as far as it is in the state dict. */
export function moduleRows(
  state: StateShapes,
  module: string,
  range: (rows: number) => readonly [first: number, end: number],
): RowRange[] {
  return [`${module}.weight`, `${module}.bias`].flatMap((name): RowRange[] => {
    const rows = state.get(name)?.[0];
    return rows === undefined ? [] : [[name, ...range(rows)]];
  });
}

function wholeRows(state: StateShapes, name: string): RowRange[] {
  const rows = state.get(name)?.[0];
  return rows === undefined ? [] : [[name, 0, rows]];
}

/**
 * Query rows of timm's attentions: those of a norm of queries, else the first third of `qkv` and a `q_bias` beside
 * it, or all of `q` or `q_proj`.
 */
export function attentionQueryRows(state: StateShapes, attention: string): RowRange[] {
  const normed = moduleRows(state, `${attention}.q_norm`, (rows) => [0, rows]);
  if (normed.length) return normed;
  return [
    ...moduleRows(state, `${attention}.qkv`, (rows) => [0, rows / 3]),
    ...wholeRows(state, `${attention}.q_bias`),
    ...moduleRows(state, `${attention}.q`, (rows) => [0, rows]),
    ...moduleRows(state, `${attention}.q_proj`, (rows) => [0, rows]),
  ];
}
