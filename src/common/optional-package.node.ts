import { createRequire } from 'node:module';
import { UserError } from './errors.ts';

const require = createRequire(import.meta.url);

/**
 * A package that only some uses of this one need, and that is installed by who has them. It is loaded
 * when the first of them asks for it.
 * @param use what can't be done without it, for the error: `running models`
 * @throws UserError when it is not installed, saying how to install it
 */
export function optionalPackage<Package>(name: string, use: string): Package {
  try {
    return require(name) as Package;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code !== 'MODULE_NOT_FOUND' || !message.includes(`'${name}'`)) throw error;
    throw new UserError(`${use} needs the package ${name}, which is not installed; run: npm install ${name}`);
  }
}
