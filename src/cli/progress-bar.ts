import { createLogUpdate } from 'log-update';
import type { Progress, ProgressTask } from '../common/progress.ts';

/** Where progress is drawn: a terminal, or a file or pipe that gets a line now and then. */
export interface ProgressStream {
  readonly isTTY?: boolean;
  /** Width of the terminal in letters. */
  readonly columns?: number;
  write(text: string): unknown;
}

export interface TerminalProgressOptions {
  /** Default: stderr, so that stdout holds results alone. */
  stream?: ProgressStream;
  /** Milliseconds of a steady clock. */
  now?: () => number;
}

/** Without a terminal, a running task says how far it is this often. */
const lineInterval = 10_000;
/** A task shorter than this leaves no line behind. */
const worthALine = 1000;
/** Rates are averaged over this much of the recent past. */
const rateWindow = 15_000;
/** Bars are drawn again this often at most, in milliseconds. */
const redrawInterval = 100;
const barWidth = { most: 24, least: 8 };

/** Bars while tasks run, a line for each when it ends; only lines when the stream is no terminal. */
export function terminalProgress(options: TerminalProgressOptions = {}): Progress {
  const stream = options.stream ?? process.stderr;
  const now = options.now ?? (() => performance.now());
  return stream.isTTY ? bars(stream, now) : lines(stream, now);
}

function lines(stream: ProgressStream, now: () => number): Progress {
  return {
    task(label, total, unit) {
      const meter = new Meter(total, now);
      let last = now();
      return once({
        update(done, figures = {}) {
          meter.update(done, figures);
          if (now() - last < lineInterval) return;
          last = now();
          stream.write(`${label}: ${done}/${total} ${unit}${details(meter, unit)}\n`);
        },
        done() {
          if (meter.elapsed >= worthALine) stream.write(`${summary(label, unit, meter)}\n`);
        },
      });
    },
    note(text) {
      stream.write(`${text}\n`);
    },
  };
}

function bars(stream: ProgressStream, now: () => number): Progress {
  const lines = createLogUpdate(stream as NodeJS.WritableStream, { showCursor: true });
  const running = new Set<Bar>();
  let drawn = Number.NEGATIVE_INFINITY;

  const draw = () => {
    drawn = now();
    const width = stream.columns || 80;
    if (running.size) lines([...running].map((bar) => drawBar(bar, width)).join('\n'));
  };

  /** A line that stays, above the bars. */
  const say = (text: string) => {
    lines.clear();
    stream.write(`${text}\n`);
    draw();
  };

  return {
    task(label, total, unit) {
      const bar: Bar = { label, unit, meter: new Meter(total, now) };
      running.add(bar);
      draw();
      return once({
        update(done, figures = {}) {
          bar.meter.update(done, figures);
          if (now() - drawn >= redrawInterval) draw();
        },
        done() {
          running.delete(bar);
          lines.clear();
          if (bar.meter.elapsed >= worthALine) say(summary(label, unit, bar.meter));
          else draw();
        },
      });
    },
    note: say,
  };
}

/** Ending a task twice is ending it once. */
function once(task: ProgressTask): ProgressTask {
  let ended = false;
  return {
    update(done, figures) {
      if (!ended) task.update(done, figures);
    },
    done() {
      if (!ended) task.done();
      ended = true;
    },
  };
}

/** How far a task is and how fast it goes, counted from its first update: a resumed task begins in the middle. */
class Meter {
  readonly total: number;
  done = 0;
  figures: Record<string, string> = {};
  readonly #now: () => number;
  readonly #start: number;
  readonly #marks: { at: number; done: number }[] = [];

  constructor(total: number, now: () => number) {
    this.total = total;
    this.#now = now;
    this.#start = now();
  }

  update(done: number, figures: Record<string, string>): void {
    const at = this.#now();
    this.done = done;
    this.figures = figures;
    this.#marks.push({ at, done });
    while (this.#marks.length > 2 && at - this.#marks[1]!.at > rateWindow) this.#marks.shift();
  }

  get elapsed(): number {
    return this.#now() - this.#start;
  }

  /** Units a second lately; undefined until there were two updates. */
  get rate(): number | undefined {
    const first = this.#marks[0];
    const last = this.#marks.at(-1);
    if (!first || !last || last.at <= first.at || last.done <= first.done) return undefined;
    return ((last.done - first.done) / (last.at - first.at)) * 1000;
  }

  /** Milliseconds still to go at that rate. */
  get remaining(): number | undefined {
    const { rate } = this;
    return rate && ((this.total - this.done) / rate) * 1000;
  }
}

function details(meter: Meter, unit: string): string {
  const parts: string[] = [];
  const { rate, remaining } = meter;
  if (rate !== undefined) parts.push(formatRate(rate, unit));
  if (remaining !== undefined && meter.done < meter.total) parts.push(`${formatDuration(remaining)} left`);
  for (const [name, value] of Object.entries(meter.figures)) parts.push(`${name} ${value}`);
  return parts.map((part) => `, ${part}`).join('');
}

function summary(label: string, unit: string, meter: Meter): string {
  const figures = Object.entries(meter.figures).map(([name, value]) => `, ${name} ${value}`);
  return `${label}: ${meter.done} ${unit} in ${formatDuration(meter.elapsed)}${figures.join('')}`;
}

/** Label, bar, figures; the bar gives way when the line is narrow, then the line is cut. */
function drawBar({ label, unit, meter }: Bar, width: number): string {
  const share = meter.total > 0 ? Math.min(1, meter.done / meter.total) : 1;
  const percent = `${Math.floor(share * 100)}%`.padStart(4);
  const figures = ` ${percent}  ${meter.done}/${meter.total} ${unit}${details(meter, unit)}`;
  const room = width - label.length - figures.length - 1;
  const length = Math.max(barWidth.least, Math.min(barWidth.most, room));
  const full = Math.round(share * length);
  const text = `${label} ${'━'.repeat(full)}${'─'.repeat(length - full)}${figures}`;
  return text.length > width ? `${text.slice(0, width - 1)}…` : text;
}

interface Bar {
  readonly label: string;
  readonly unit: string;
  readonly meter: Meter;
}

function formatRate(rate: number, unit: string): string {
  if (rate >= 1 || rate === 0) return `${rate >= 100 ? Math.round(rate) : rate.toFixed(1)} ${unit}/s`;
  return `${(1 / rate).toFixed(1)} s each`;
}

/** `0.4 s`, `12 s`, `3 min 05 s`, `2 h 14 min`. */
export function formatDuration(milliseconds: number): string {
  const seconds = milliseconds / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${String(whole % 60).padStart(2, '0')} s`;
  const minutes = Math.round(whole / 60);
  return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, '0')} min`;
}
