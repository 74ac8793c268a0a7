import { expect, it } from 'vitest';
import { UserError } from './errors.ts';
import { optionalPackage } from './optional-package.node.ts';

it('gives an installed package, and says how to install one that is not', () => {
  expect(optionalPackage<{ Tensor: unknown }>('onnxruntime-common', 'this').Tensor).toBeTypeOf('function');
  expect(() => optionalPackage('no-such-package', 'seeing through walls')).toThrow(UserError);
  expect(() => optionalPackage('no-such-package', 'seeing through walls')).toThrow(
    'seeing through walls needs the package no-such-package, which is not installed; run: npm install no-such-package',
  );
});
