import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, symlinkSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

/** The packages that every install of ours brings along. */
export const dependencies: readonly string[] = Object.keys(manifest.dependencies);

/** npm is a script on Windows, which only a shell runs. */
const shell = process.platform === 'win32';

/** Makes the tarball of the package as it is built, in a folder. @returns its path */
export function pack(folder: string): string {
  const made = execFileSync('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', folder], {
    cwd: root,
    encoding: 'utf8',
    shell,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  return join(folder, JSON.parse(made)[0].filename);
}

/**
 * Installs the package from its tarball into an empty folder. What it depends on is linked from here instead
 * of downloaded, and nothing else is there: an import of what the package does not declare fails.
 * @param folder where to make `node_modules`
 * @param peers packages that the user of the package installs too
 * @returns the installed package's folder
 */
export function install(tarball: string, folder: string, peers: readonly string[] = []): string {
  const installed = join(folder, 'node_modules', manifest.name);
  mkdirSync(installed, { recursive: true });
  execFileSync('tar', ['-xzf', basename(tarball), '--strip-components=1', '-C', installed], {
    cwd: dirname(tarball),
  });
  for (const name of [...dependencies, ...peers]) {
    const link = join(folder, 'node_modules', name);
    mkdirSync(dirname(link), { recursive: true });
    symlinkSync(join(root, 'node_modules', name), link, 'junction');
  }
  return installed;
}
