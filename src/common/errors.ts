/**
 * A mistake in what the user gave us. The message says what was wrong, where, and what to do;
 * the command line prints it as one line and exits with 2.
 */
export class UserError extends Error {
  override readonly name = 'UserError';
  /** The file that it is about, where it is one. */
  readonly file: string | undefined;

  constructor(message: string, file?: string) {
    super(message);
    this.file = file;
  }
}

/** The work was interrupted at a point from which it can be resumed; the command line exits with 130. */
export class InterruptedError extends Error {
  override readonly name = 'InterruptedError';
}
