import { formatMilliseconds } from '../../report/format.ts';
import { html, type Markup } from '../../report/markup.ts';
import type { Manifest } from '../protocol.ts';
import { bestClasses, type Picture, pictureInput } from './picture.ts';
import { howOf, measured, type Row } from './rows.ts';
import { ServedModel } from './served.ts';

/** Milliseconds between two looks of the camera. */
const lookEvery = 100;

/** Lets whoever holds the device see the files at work: on the run's pictures, on theirs, and on what the camera sees. */
export function tryIt(place: HTMLElement, plan: Manifest, rows: readonly Row[]): void {
  const right = measured(rows)
    .filter(({ row, answer }) => answer.right !== false && row.variant.scores !== 'features')
    .sort((a, b) => a.result.median - b.result.median)
    .map(({ row }) => row);
  if (right.length === 0) return;
  place.innerHTML = panel(right, plan).text;
  const find = <E extends Element>(selector: string) => place.querySelector<E>(selector);
  const [list, status] = [find<HTMLElement>('.samples')!, find<HTMLElement>('[role=status]')!];
  const [video, select] = [find<HTMLVideoElement>('video')!, find<HTMLSelectElement>('select')!];
  let served: Promise<ServedModel> | undefined;
  let watching: MediaStream | undefined;

  const stop = () => {
    for (const track of watching?.getTracks() ?? []) track.stop();
    watching = undefined;
    video.hidden = true;
  };
  const model = () => {
    served ??= ServedModel.open(right[Number(select.value)]!);
    return served;
  };
  const doing = (work: () => Promise<void>) => async () => {
    try {
      status.textContent = 'Loading…';
      await work();
    } catch (error) {
      stop();
      status.textContent = `That failed: ${(error as Error).message}`;
    }
  };
  const classify = async (picture: Picture, count: number) => {
    const open = await model();
    const { variant } = open.row;
    const { outputs, milliseconds } = await open.run(pictureInput(variant, picture));
    return { classes: bestClasses(variant, outputs, count), milliseconds };
  };
  const show = async (pictures: readonly { image: string; label?: string }[]) => {
    stop();
    list.replaceChildren();
    for (const { image, label } of pictures) {
      const picture = new Image();
      picture.src = image;
      await picture.decode();
      const { classes, milliseconds } = await classify(picture, 1);
      list.insertAdjacentHTML('beforeend', sample(image, label, classes[0]!).text);
      status.textContent = `${formatMilliseconds(milliseconds)} for one picture`;
    }
  };

  select.addEventListener('change', () => {
    stop();
    void served?.then((open) => open.close()).catch(() => {});
    served = undefined;
    list.replaceChildren();
    status.textContent = '';
  });
  find('.pictures')?.addEventListener(
    'click',
    doing(() => show(plan.pictures)),
  );
  const picker = find<HTMLInputElement>('input[type=file]')!;
  picker.addEventListener(
    'change',
    doing(async () => {
      const addresses = [...(picker.files ?? [])].map((file) => URL.createObjectURL(file));
      await show(addresses.map((image) => ({ image })));
    }),
  );
  find('.camera')?.addEventListener(
    'click',
    doing(async () => {
      if (watching) return stop();
      list.replaceChildren();
      watching = await navigator.mediaDevices.getUserMedia({ video: { facingMode: 'environment' } });
      video.srcObject = watching;
      video.hidden = false;
      await video.play();
      for (const mine = watching; watching === mine; ) {
        const { classes, milliseconds } = await classify(video, 3);
        const named = classes.map(({ name, share }) => `${name} ${(100 * share).toFixed(0)} %`);
        if (watching === mine)
          status.textContent = `${named.join(', ')} (${formatMilliseconds(milliseconds)})`;
        await new Promise((resolve) => setTimeout(resolve, lookEvery));
      }
    }),
  );
}

function panel(rows: readonly Row[], { pictures }: Manifest): Markup {
  const camera = navigator.mediaDevices?.getUserMedia !== undefined;
  return html`<section class="try">
<h2>Try it</h2>
<p>See a file at work on this device. Pictures stay here.</p>
<label>File<select>${rows.map((row, i) => html`<option value="${i}">${row.variant.title} .${row.variant.format}, ${howOf(row)}</option>`)}</select></label>
<div class="buttons">${pictures.length > 0 && html`<button type="button" class="pictures">The run’s pictures</button>`}
<label class="button">A picture of yours<input type="file" accept="image/*" multiple></label>
${camera && html`<button type="button" class="camera">Camera</button>`}</div>
<video muted playsinline hidden></video>
<p role="status"></p>
<ul class="samples"></ul>
</section>`;
}

function sample(image: string, label: string | undefined, best: { name: string; share: number }): Markup {
  const wrong = label !== undefined && label !== best.name;
  return html`<li class="${wrong ? 'wrong' : 'right'}"><img src="${image}" alt="${label ?? 'your picture'}"><b>${best.name}</b><span>${(100 * best.share).toFixed(1)} %${wrong && `, is ${label}`}</span></li>`;
}
