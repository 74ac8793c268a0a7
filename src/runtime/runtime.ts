/** How to start a program that speaks the latency protocol. */
export interface WorkerCommand {
  readonly file: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** Something that loads files and runs them, and how it is timed. */
export interface Runtime {
  /** As `--runtime` names it. */
  readonly name: string;
  /** Its integer engines, where one can be chosen: the setting `engine` of its child. */
  readonly engines?: readonly string[];
  /**
   * Its child, which speaks the protocol in `latency-protocol.ts`.
   * @throws UserError when the runtime isn't installed
   */
  command(): WorkerCommand;
}
