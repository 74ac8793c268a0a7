import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { UserError } from '../common/errors.ts';

/** Places a Python may be, best first: the one named by the user, a virtual environment, the PATH. */
function candidates(environment: NodeJS.ProcessEnv): string[] {
  const inside = (root: string) => [join(root, 'bin', 'python'), join(root, 'Scripts', 'python.exe')];
  const environments = [environment.VIRTUAL_ENV, '.venv', 'venv'].flatMap((root) =>
    root ? inside(root) : [],
  );
  return [...environments.filter((path) => existsSync(path)), 'python3', 'python'];
}

const imports = (python: string, module: string) =>
  spawnSync(python, ['-c', `import ${module}`], { stdio: 'ignore', timeout: 120_000 }).status === 0;

/**
 * The first Python that has a module: `PQV_PYTHON` when it is set (and then no other), an active or
 * local virtual environment, or the PATH's.
 * @throws UserError when there is none, saying where it was looked for
 */
export function findPython(module: string, environment: NodeJS.ProcessEnv = process.env): string {
  const named = environment.PQV_PYTHON;
  const tried = named ? [named] : candidates(environment);
  const found = tried.find((python) => imports(python, module));
  if (found) return found;
  throw new UserError(
    named
      ? `PQV_PYTHON=${named} is no Python that has ${module}`
      : `no Python with ${module} found (looked at ${tried.join(', ')}); set PQV_PYTHON to one that has it`,
  );
}
