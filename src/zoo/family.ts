import type { Graph } from '../graph/graph.ts';
import type { BlockShape } from './blocks-of.ts';
import type { CheckpointLayout } from './checkpoint-layout.ts';
import type { RowRange } from './layers/query-rows.ts';
import type { ModelArgs } from './model-args.ts';
import type { ParameterSource } from './parameter-source.ts';
import type { StateShapes } from './state.ts';

/**
 * Builds the graph of an architecture: input `pixel_values` `[N, C, H, W]`, output `logits`, parameters
 * as constants under timm's state-dict names. `args` are complete: `img_size` `[H, W]`, `in_chans` and
 * `num_classes` are always there.
 * @throws UserError on arguments the class does not have or can't combine
 */
export type ArchitectureBuilder = (args: ModelArgs, source: ParameterSource) => Graph;

/** What is seen of a model whose constructor arguments are asked for. */
export interface ModelFacts {
  readonly state: StateShapes;
  readonly blocks: readonly BlockShape[];
}

/**
 * All that is particular to one family of timm's architectures. Everything else asks here, so that a
 * family is a folder and its row in `families/index.ts`.
 */
export interface Family {
  /** timm's Python module. */
  readonly name: string;
  /** Builders by timm's `module.Class`. */
  readonly classes: Readonly<Record<string, ArchitectureBuilder>>;
  /**
   * Whether the constructors take `img_size`. Otherwise the size is that of the input configuration,
   * and nobody may give it as an argument of the model, as in timm.
   */
  readonly takesImageSize: boolean;
  /**
   * What is not weight-decayed beside vectors (timm's `no_weight_decay`): parts of dotted names, of a
   * parameter or of a module with all that is in it.
   */
  readonly noWeightDecay: readonly string[];
  /**
   * Constructor arguments of a name, where timm's entry point makes what a table can't hold (a backbone).
   * @param args those of the table
   */
  namedArgs?(name: string, args: ModelArgs): ModelArgs;
  /** The blocks of a graph, measured on it, so that they hold after pruning and quantization. */
  blocks(graph: Graph): BlockShape[];
  /**
   * The arguments over `given` with which the constructor makes a model of these shapes, where they can be
   * told; the caller builds with them and compares. Without it, a model whose shapes were changed has none.
   */
  inferArgs?(facts: ModelFacts, given: ModelArgs): ModelArgs | undefined;
  /**
   * The rows of parameters that the queries of an attention are linear in, where timm scales the queries
   * by the head width; see `timmState`.
   * @param attention the scope of its parameters: `blocks.0.attn`
   */
  queryRows?(state: StateShapes, attention: string): RowRange[];
  /** Layouts of state dicts other than timm's that people have of these models. */
  readonly layouts?: readonly CheckpointLayout[];
}
