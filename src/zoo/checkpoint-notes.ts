import type { DataType } from '../graph/tensor.ts';

/** What was done to a checkpoint on its way into a model, for one line of news. */
export class CheckpointNotes {
  /** The checkpoint's name. */
  readonly where: string;
  readonly #lines: string[] = [];
  readonly #types = new Map<DataType, number>();
  readonly #resampled: { name: string; change: string }[] = [];
  readonly #leftOver: string[] = [];

  constructor(where: string) {
    this.where = where;
  }

  add(line: string): void {
    this.#lines.push(line);
  }

  /** A parameter is stored in that type. */
  stored(dtype: DataType): void {
    this.#types.set(dtype, (this.#types.get(dtype) ?? 0) + 1);
  }

  resampled(name: string, from: readonly number[], to: readonly number[]): void {
    this.#resampled.push({ name, change: `${from.join('x')} to ${to.join('x')}` });
  }

  /** Tensors that the model has no use for. */
  leftOver(names: Iterable<string>): void {
    this.#leftOver.push(...names);
  }

  /** The line, or nothing when the checkpoint was taken as it is. */
  line(): string | undefined {
    const converted = [...this.#types.keys()].filter((dtype) => dtype !== 'float32');
    const lines = [
      ...this.#lines,
      ...converted.map((dtype) => `${dtype} became float32`),
      ...this.#positions(),
      ...(this.#leftOver.length ? [`left over: ${listed(this.#leftOver)}`] : []),
    ];
    return lines.length ? `${this.where}: ${lines.join('; ')}` : undefined;
  }

  #positions(): string[] {
    const [first] = this.#resampled;
    if (!first) return [];
    const more = this.#resampled.length - 1;
    const others = more ? ` and ${more} more table${more > 1 ? 's' : ''}` : '';
    return [`positions resampled (${first.name} from ${first.change}${others})`];
  }
}

/** Some names, and how many more there are. */
const listed = (names: readonly string[]): string => {
  const more = names.length > 3 ? ` and ${names.length - 3} more` : '';
  return `${names.slice(0, 3).join(', ')}${more}`;
};
