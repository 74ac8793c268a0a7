import { html, Markup } from './markup.ts';
import { styleSheet } from './style.ts';

/** The page runs nothing and asks for nothing, whatever a name in it holds. */
const contentPolicy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

/** A whole HTML page around its content, with the styles inside. */
export const pageOf = (title: string, content: Markup): string =>
  html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${contentPolicy}">
<title>${title}</title>
<style>${new Markup(styleSheet)}</style>
</head>
<body>
<main>
${content}
</main>
</body>
</html>
`.text;
