/** What both web examples share: decode a picture, test the app, show the five best. */
import { type Card, fitted, goldenPixels, isGolden, type Pixels, toInput, topFive } from './app-card.ts';

/** Gives scores for one prepared image. */
export type Run = (input: Float32Array | Uint8Array) => Promise<ArrayLike<number>>;

async function decoded(file: Blob): Promise<Pixels> {
  const picture = await createImageBitmap(file, { imageOrientation: 'from-image' });
  const { width, height } = picture;
  const context = new OffscreenCanvas(width, height).getContext('2d')!;
  context.drawImage(picture, 0, 0);
  return { width, height, channels: 4, data: context.getImageData(0, 0, width, height).data };
}

/** Tests the app by the card's golden sample, and then names what is on the pictures that are chosen. */
export async function serve(card: Card, run: Run): Promise<void> {
  const [picker, status, list] = ['input', '[role=status]', 'ol'].map(
    (name) => document.querySelector(name)!,
  );
  const golden = await run(toInput(card, goldenPixels(card)));
  if (!isGolden(card, golden)) {
    status!.textContent =
      'The golden sample comes out wrong: this engine, or how images are prepared, is not right.';
    return;
  }
  status!.textContent = 'Self-test passed. Choose a picture.';
  picker!.removeAttribute('disabled');
  picker!.addEventListener('change', async () => {
    const [file] = (picker as HTMLInputElement).files ?? [];
    if (!file) return;
    const scores = await run(toInput(card, fitted(card, await decoded(file))));
    const rows = topFive(card, scores).map(({ name, score }) => {
      const row = document.createElement('li');
      row.textContent = `${name}: ${score.toFixed(2)}`;
      return row;
    });
    list!.replaceChildren(...rows);
  });
}
