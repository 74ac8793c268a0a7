import { validated } from '../../common/options.ts';
import { weightBytes } from '../../onnx/write.ts';
import { type Quantization, quantization } from '../../quantize/record.ts';
import { saveModel } from '../../zoo/save.node.ts';
import { localContext } from '../context.node.ts';
import { openModel } from '../open.node.ts';
import { quantizeStage } from '../stages/quantize.node.ts';
import { assertElsewhere, type CommandOptions, openStageData } from './command.node.ts';

/** What was done to the numbers, and the bytes of the weights before and after. */
export type QuantizedModel = Quantization & { before: number; after: number; files: string[] };

/** Quantizes a model and writes it. @param input options of the stage */
export async function quantizeModel(
  reference: string,
  output: string,
  input: unknown,
  command: CommandOptions & { data?: string },
): Promise<QuantizedModel> {
  const options = validated(quantizeStage.options, input);
  assertElsewhere(reference, output);
  const context = localContext(command);
  const graph = await openModel(reference, command);
  const before = weightBytes(graph);
  const data = await openStageData(quantizeStage, options, graph, command);
  const quantized = await quantizeStage.run({ context, graph, options, data, folder: output });
  const files = [...saveModel(quantized.graph, output), ...quantized.files];
  return { before, after: weightBytes(quantized.graph), ...quantization(quantized.graph)!, files };
}
