import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { pqv, scratch } from './command.ts';

const at = scratch();
const file = (name: string) =>
  fileURLToPath(new URL(`../src/import/quantized/golden/vit.${name}.onnx`, import.meta.url));

const said: Record<string, string> = {
  'dynamic-u8': 'int8, dynamic',
  'qdq-channel': 'int8, QDQ',
  'operator-channel': 'int8, QOperator',
};

describe.each(Object.entries(said))('a file that onnxruntime quantized, %s', (name, what) => {
  it('is inspected as what it is', async () => {
    const float = JSON.parse((await pqv('inspect', file('float'), '--json')).stdout);
    const { code, stdout } = await pqv('inspect', file(name), '--json');
    expect(code).toBe(0);
    const { parameters, macs, quantized } = JSON.parse(stdout);
    expect({ parameters, macs }).toEqual({ parameters: float.parameters, macs: float.macs });
    expect(float.quantized).toBeNull();
    expect(quantized).toMatchObject({ dtype: 'int8', by: "onnxruntime's quantizer" });
    const shown = await pqv('inspect', file(name));
    expect(shown.stdout).toMatch(/int8 (dynamic|static \(\w+\)), by onnxruntime's quantizer, u?int8 weights/);
  });

  const changes: Record<string, [string[], string]> = {
    prune: [['--ratio', '0.25'], 'pruning comes before quantization: prune the float32 model it came from'],
    finetune: [
      ['--data', 'mnist', '--epochs', '1'],
      'training comes before quantization: finetune the float32 model it came from',
    ],
    quantize: [[], 'quantize the float32 model it came from'],
    optimize: [
      ['--data', 'mnist', '--prune', '0.25'],
      'pruning comes before quantization: prune the float32 model it came from',
    ],
  };

  it.each(Object.entries(changes))(
    '%s says that it comes before quantization',
    async (command, [options, remedy]) => {
      const target = at(`${command}-${name}`);
      const { code, stderr } = await pqv(command, file(name), '-o', target, ...options);
      expect(stderr).toBe(
        `pqv: error: the model is already quantized (${what}, by onnxruntime's quantizer); ${remedy}\n`,
      );
      expect(code).toBe(2);
      expect(existsSync(`${target}/model.onnx`)).toBe(false);
    },
  );
});
