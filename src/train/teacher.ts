import { UserError } from '../common/errors.ts';
import type { Graph } from '../graph/graph.ts';
import type { Tensor } from '../graph/tensor.ts';
import type { Kept } from '../prune/apply.ts';
import type { Engine, Session } from '../runtime/session.ts';
import { withFeatures } from './features.ts';
import type { DistillKind } from './loss.ts';
import type { Task } from './objective.ts';

interface TeacherOptions {
  task: Task | undefined;
  kind: DistillKind;
  /** What the pupil has kept of the teacher, where features are learnt. */
  kept: Kept | undefined;
  threads: number | undefined;
}

/** A model that another learns from. Dispose when done. */
export class Teacher {
  readonly #session: Session;
  readonly #learnt: readonly string[];

  private constructor(session: Session, learnt: readonly string[]) {
    this.#session = session;
    this.#learnt = learnt;
  }

  /** @throws UserError where it lacks an output that the pupil has, and as `withFeatures` */
  static async load(
    engine: Engine,
    teacher: Graph,
    pupil: Graph,
    { task, kind, kept, threads }: TeacherOptions,
  ): Promise<Teacher> {
    const { graph, features } =
      kind === 'feature' ? withFeatures(teacher, pupil, kept) : { graph: teacher, features: [] };
    const outputs = task === 'distill' ? outputsFor(teacher, pupil) : [teacher.outputs[0]!.name];
    const learnt = task !== 'distill' && kind === 'feature' ? features : [...outputs, ...features];
    return new Teacher(await engine.load(graph, threads === undefined ? {} : { threads }), learnt);
  }

  /**
   * What it makes of images, as the training step takes it.
   * @param classes of the logits, where those are what is learnt
   * @throws UserError when it tells other classes apart
   */
  async teach(pixels: Tensor, classes: number | undefined): Promise<Tensor[]> {
    const given = await this.#session.run({ [this.#session.inputs[0]!]: pixels }, this.#learnt);
    const learnt = this.#learnt.map((name) => given[name]!);
    if (classes !== undefined && learnt[0]!.shape.at(-1) !== classes) {
      throw new UserError(
        `the teacher has ${learnt[0]!.shape.at(-1)} classes, the model ${classes}; they must be the same`,
      );
    }
    return learnt;
  }

  async dispose(): Promise<void> {
    await this.#session.dispose();
  }
}

/** The teacher's outputs for those of its pupil, by their names or as there is only one. */
function outputsFor(teacher: Graph, pupil: Graph): string[] {
  const names = teacher.outputs.map(({ name }) => name);
  return pupil.outputs
    .filter(({ dtype }) => dtype === 'float32')
    .map(({ name }) => {
      if (names.includes(name)) return name;
      if (names.length === 1) return names[0]!;
      throw new UserError(`the teacher gives ${names.join(', ')}, but no ${name} to learn from`);
    });
}
