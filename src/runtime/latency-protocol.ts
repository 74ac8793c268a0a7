/**
 * What the benchmark and a process that runs one model say to each other: JSON documents, one a line,
 * requests on the child's stdin and one reply to each on its stdout. A child in any language can speak
 * it. Lines on stdout that don't begin with `{` are no replies; what goes to stderr is quoted when the
 * child dies. A child ends when its stdin does; it ignores SIGINT, since Ctrl-C is for the benchmark to handle.
 */
export type LatencyRequest =
  | {
      op: 'load';
      path: string;
      threads: number;
      batch: number;
      /** `[C, H, W]` of the input; absent: what the file says. */
      inputShape?: readonly number[];
      /** Settings of the runtime, such as the quantized engine of PyTorch. */
      settings?: Readonly<Record<string, string>>;
    }
  /** Runs the model `untimed` times and then `timed` times. */
  | { op: 'run'; untimed: number; timed: number }
  | { op: 'memory' };

export interface LatencyReplies {
  /** Name and version of what runs the model. */
  load: { engine: string };
  /** One number per timed run. */
  run: { milliseconds: readonly number[] };
  /** The most memory the process ever had resident. */
  memory: { peakRssBytes: number };
}

/** A reply, or why there is none, in one line. */
export type LatencyReply<Op extends keyof LatencyReplies> = LatencyReplies[Op] | { error: string };
