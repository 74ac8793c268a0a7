/** The page of the lab: introduces this device, measures cell by cell, and sends what comes of each. */
import type { Hello, Manifest, Outcome } from '../protocol.ts';
import { threadsOf } from '../runners.ts';
import { introduction } from './abilities.ts';
import { base, goodbye, hello, LabError, manifest, model, outcome } from './client.ts';
import { howOf, type Row, rowsOf } from './rows.ts';
import { type CellProgress, runCell } from './run-cell.ts';
import { timeAll } from './timing.ts';
import { tryIt } from './try-it.ts';
import { factsMarkup, resultsMarkup } from './view.ts';

const element = <E extends HTMLElement>(selector: string): E => document.querySelector<E>(selector)!;
const form = element<HTMLFormElement>('#device');
const [field, button] = [form.querySelector('input')!, form.querySelector('button')!];
const [status, bar] = [element('#status'), element<HTMLProgressElement>('progress')];

function tell(text: string, bad = false): void {
  status.textContent = text;
  status.classList.toggle('bad', bad);
  if (bad) document.body.dataset.ended = 'badly';
}

const show = (rows: readonly Row[]) => {
  element('#results').innerHTML = resultsMarkup(rows).text;
};

/** The screen stays on while this page measures, where the browser lets it. */
const keepAwake = () => navigator.wakeLock?.request('screen').catch(() => undefined);

async function begin(): Promise<void> {
  const [plan, device] = await Promise.all([manifest(), introduction()]);
  const rows = rowsOf(plan, device);
  field.value = device.name;
  element('#facts').innerHTML = factsMarkup(device).text;
  if (!plan.timing) show(rows);
  const todo = rows.filter(({ state }) => state.status === 'waiting');
  if (!plan.timing && todo.length === 0) return tell('Nothing here can be measured by this browser.', true);
  tell(
    plan.timing
      ? 'Pieces of a model are timed here, a few minutes. Keep this page in front.'
      : `${todo.length} measurements, one after the other. Keep this page in front.`,
  );
  field.disabled = button.disabled = false;
  document.body.dataset.begun = 'yes';
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    field.disabled = button.disabled = true;
    void measureAll(plan, { ...device, name: field.value }, rows).catch((error) =>
      tell(String(error.message), true),
    );
  });
  if (location.hash === '#measure') form.requestSubmit();
}

async function measureAll(plan: Manifest, device: Hello, rows: readonly Row[]): Promise<void> {
  const again = sessionStorage.getItem('device');
  const { device: id, name } = await hello({ ...device, ...(again ? { again } : {}) });
  sessionStorage.setItem('device', id);
  field.value = name;
  const line = new EventSource(`${base}line?device=${id}`);
  let over = false;
  line.addEventListener('end', () => {
    over = true;
    line.close();
  });
  const awake = await keepAwake();
  if (plan.timing) {
    const threads = plan.timing === 'one' || !device.isolated ? 1 : threadsOf({ threads: 'many' }, device);
    await timeAll(id, threads, (graphs) => tell(`${graphs} graphs timed`));
    return farewell(line, id, awake);
  }
  bar.hidden = false;
  const todo = rows.filter(({ state }) => state.status === 'waiting');
  for (const variant of plan.variants) {
    const own = todo.filter((row) => row.variant === variant);
    let bytes: ArrayBuffer | undefined;
    for (const row of own) {
      if (over) return tell('The lab is over. What was measured is kept.', true);
      const cell = { device: id, variant: variant.id, runner: row.runner.id };
      const at = `${variant.title}, ${variant.file}`;
      row.state = { status: 'running' };
      show(rows);
      await outcome({ ...cell, status: 'begun' });
      try {
        bytes ??= await model(`model/${variant.id}`, (length) =>
          tell(`${at}: ${Math.round((100 * length) / variant.bytes)} % loaded`),
        );
        await settle(row, cell, bytes.slice(0), plan, ({ share, phase, seconds }) => {
          bar.value = (todo.indexOf(row) + share) / todo.length;
          tell(`${at}, ${howOf(row)}: ${phase}, ${seconds} s of ${plan.limit / 1000} at most`);
        });
      } catch (error) {
        const reason = (error as Error).message.slice(0, 400);
        row.state = { status: 'failed', reason };
        await outcome({ ...cell, status: 'failed', reason });
      }
      bar.value = (todo.indexOf(row) + 1) / todo.length;
      show(rows);
    }
  }
  tryIt(element('#try'), plan, rows);
  await farewell(line, id, awake);
}

async function farewell(line: EventSource, id: string, awake: WakeLockSentinel | undefined): Promise<void> {
  goodbye(id);
  line.close();
  await awake?.release();
  tell('Done. The results are with the lab; this page can be closed.');
  document.body.dataset.ended = 'done';
}

/** Measures a cell and hears from the lab whether its outputs are right. */
async function settle(
  row: Row,
  cell: Pick<Outcome, 'device' | 'variant'> & { runner: string },
  bytes: ArrayBuffer,
  plan: Manifest,
  progress: CellProgress,
): Promise<void> {
  const { runs, warmup, budget } = plan;
  const { variant, runner, threads } = row;
  const job = {
    model: bytes,
    variant,
    runner: { runtime: runner.runtime, accelerator: runner.accelerator },
    threads,
  };
  const result = await runCell({ ...job, runs, warmup, budget }, plan.limit, progress);
  const answer = await outcome({ ...cell, status: 'measured', ...result, outputs: [...result.outputs] });
  row.state = { status: 'measured', result, answer };
}

begin().catch((error) =>
  tell(error instanceof LabError ? error.message : `This browser can’t: ${error.message}`, true),
);
