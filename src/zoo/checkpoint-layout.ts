import type { Tensor } from '../graph/tensor.ts';
import type { CheckpointNotes } from './checkpoint-notes.ts';
import { type StateShapes, shapesOf } from './state.ts';

/** A way in which others than timm name and shape the tensors of a model. */
export interface CheckpointLayout {
  /** Whose it is, for people: `DINOv2`. */
  readonly name: string;
  /** Whether a state dict is in it. */
  matches(state: StateShapes): boolean;
  /** The state dict under timm's names. What the model does not have is left out, and named in `leftOver`. */
  convert(tensors: ReadonlyMap<string, Tensor>, leftOver: string[]): Map<string, Tensor>;
}

/**
 * The tensors under other names; those without a name are left out.
 * @param leftOver gets the names of those
 */
export function renamed(
  tensors: ReadonlyMap<string, Tensor>,
  rename: (name: string) => string | undefined,
  leftOver: string[] = [],
): Map<string, Tensor> {
  const result = new Map<string, Tensor>();
  for (const [name, tensor] of tensors) {
    const other = rename(name);
    if (other === undefined) leftOver.push(name);
    else result.set(other, tensor);
  }
  return result;
}

/**
 * The state dict in timm's layout: each layout that it is in is converted, in the order of the list.
 * @param notes whose layouts they were and what was left over is added to
 */
export function toTimmLayout(
  layouts: readonly CheckpointLayout[],
  tensors: ReadonlyMap<string, Tensor>,
  notes?: CheckpointNotes,
): ReadonlyMap<string, Tensor> {
  let state = tensors;
  for (const layout of layouts) {
    if (!layout.matches(shapesOf(state))) continue;
    const leftOver: string[] = [];
    state = layout.convert(state, leftOver);
    notes?.add(`from the layout of ${layout.name}`);
    notes?.leftOver(leftOver);
  }
  return state;
}
