import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest';
import { Tensor } from '../graph/tensor.ts';
import { runTorchArtifact } from './pytorch.node.ts';

const folder = mkdtempSync(join(tmpdir(), 'pqv-python-'));
afterAll(() => rmSync(folder, { recursive: true }));
afterEach(() => vi.unstubAllEnvs());

const pixels = Tensor.float32([1, 1, 1, 2], [3, 4]);

/** A Python that has torch, by what it says, and otherwise does as told. */
function python(script: string) {
  const path = join(folder, 'python');
  writeFileSync(path, `#!/bin/sh\n[ "$2" = "import torch" ] && exit 0\n${script}\n`);
  chmodSync(path, 0o755);
  vi.stubEnv('PQV_PYTHON', path);
}

describe.skipIf(process.platform === 'win32')('runTorchArtifact', () => {
  it('hands over path, shape and pixels, and reads logits', () => {
    python(`[ "$3" = model.ptl ] && [ "$4" = "[1,1,1,2]" ] || exit 9\nprintf '[2, 1]\\n'\ncat`);
    const logits = runTorchArtifact('model.ptl', pixels);
    expect(logits.shape).toEqual([2, 1]);
    expect([...logits.floats]).toEqual([3, 4]);
  });

  it("passes on PyTorch's words", () => {
    python('cat > /dev/null; echo warning >&2; echo "no such operator" >&2; exit 1');
    expect(() => runTorchArtifact('model.ptl', pixels)).toThrow(
      "PyTorch can't run model.ptl: no such operator",
    );
  });
});
