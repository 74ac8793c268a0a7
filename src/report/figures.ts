import { html, type Markup } from './markup.ts';
import { type Drawing, plotWidths } from './plots.ts';

/** A section of plots, each drawn for the page and for the phone. Nothing when none can be drawn. */
export function figures(
  title: string,
  text: string,
  drawings: readonly (Drawing | undefined)[],
): Markup | undefined {
  const drawn = drawings.filter((drawing) => drawing !== undefined);
  if (drawn.length === 0) return undefined;
  return html`<section>
<h2>${title}</h2>
<p>${text}</p>
${drawn.map(figure)}
</section>`;
}

export const figure = (drawing: Drawing): Markup =>
  html`<figure><div class="wide">${drawing(plotWidths.wide)}</div><div class="narrow">${drawing(plotWidths.narrow)}</div></figure>`;
