import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { Browser } from 'playwright-core';
import { UserError } from '../common/errors.ts';
import { optionalPackage } from '../common/optional-package.node.ts';

const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome'];

/** A Chromium of this machine: `PQV_CHROMIUM`, or one on the PATH. */
export const findChromium = (env: NodeJS.ProcessEnv = process.env): string | undefined =>
  env.PQV_CHROMIUM ||
  (env.PATH ?? '')
    .split(delimiter)
    .flatMap((folder) => names.map((name) => join(folder, name)))
    .find((path) => existsSync(path));

/** What it needs to run without a screen, also as root, and to ask nothing of the network. */
const flags = [
  '--no-sandbox',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** Milliseconds until the page's script must run. */
const startWithin = 60_000;

export interface BrowserOptions {
  /** WebGPU as well, on a software adapter where there is no other: minutes a model. */
  readonly webgpu: boolean;
  readonly signal: AbortSignal;
}

/**
 * Opens a lab's page in a headless Chromium of this machine, measures, and is done when the page is.
 * @throws UserError when there is no Chromium or no playwright-core, or the page could not measure
 */
export async function measureInBrowser(address: string, { webgpu, signal }: BrowserOptions): Promise<void> {
  const path = findChromium();
  if (!path) throw new UserError('--browser needs a Chromium: install one, or name it by PQV_CHROMIUM');
  const { chromium } = optionalPackage<typeof import('playwright-core')>(
    'playwright-core',
    'pqv lab --browser',
  );
  let browser: Browser | undefined;
  let closing = false;
  try {
    browser = await chromium
      .launch({ executablePath: path, args: [...flags, webgpu ? '--enable-unsafe-webgpu' : '--disable-gpu'] })
      .catch((error) => {
        throw new UserError(`${path} does not start: ${String(error.message).split('\n')[0]}`);
      });
    const page = await browser.newPage();
    const crashed = new Promise<never>((_, reject) => {
      const lost = () => {
        if (!closing)
          reject(new UserError('the browser crashed; perhaps a model needs more memory than there is'));
      };
      page.on('crash', lost);
      browser!.on('disconnected', lost);
    });
    const stopped = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
    await page.goto(`${address}#measure`);
    await page
      .waitForFunction(() => document.body.dataset.ended ?? document.body.dataset.begun, null, {
        timeout: startWithin,
      })
      .catch(() => {
        throw new UserError(`the page did not start within ${startWithin / 1000} seconds in ${path}`);
      });
    const ended = page.waitForFunction(() => document.body.dataset.ended, null, { timeout: 0 });
    await Promise.race([ended, crashed, stopped]);
    if (signal.aborted) return;
    const complaint = await page.evaluate(() => document.querySelector('#status.bad')?.textContent);
    if (complaint) throw new UserError(`the page could not measure: ${complaint}`);
  } finally {
    closing = true;
    await browser?.close();
  }
}
