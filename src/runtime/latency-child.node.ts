import { createInterface } from 'node:readline';
import { UserError } from '../common/errors.ts';
import { Random } from '../common/random.ts';
import type { Shape } from '../graph/graph.ts';
import { dataTypes, elementCount, Tensor } from '../graph/tensor.ts';
import { imageInput } from './image-input.ts';
import type { LatencyReplies, LatencyRequest } from './latency-protocol.ts';
import { onnxruntime } from './onnxruntime.node.ts';
import { peakRssBytes } from './peak-memory.node.ts';
import type { InputSignature, Session } from './session.ts';

type Handlers = {
  [Op in LatencyRequest['op']]: (request: Extract<LatencyRequest, { op: Op }>) => Promise<LatencyReplies[Op]>;
};

let loaded: { session: Session; feeds: Record<string, Tensor> } | undefined;

const handlers: Handlers = {
  async load({ path, threads, batch, inputShape, settings }) {
    const before = loaded;
    loaded = undefined;
    await before?.session.dispose();
    const session = await onnxruntime.load(path, {
      threads,
      // Threads that go on spinning after a run would slow down the model whose turn is next.
      config: { 'session.force_spinning_stop': '1', ...settings },
    });
    const name = imageInput(session);
    const signature = session.inputSignatures[name]!;
    const shape = inputShape ? [batch, ...inputShape] : concreteShape(signature.shape, batch);
    loaded = { session, feeds: { [name]: randomTensor(signature, shape) } };
    return { engine: onnxruntime.name };
  },

  async run({ untimed, timed }) {
    if (!loaded) throw new UserError('no model is loaded');
    const { session, feeds } = loaded;
    for (let i = 0; i < untimed; i++) await session.run(feeds);
    const milliseconds: number[] = [];
    for (let i = 0; i < timed; i++) {
      const start = performance.now();
      await session.run(feeds);
      milliseconds.push(performance.now() - start);
    }
    return { milliseconds };
  },

  async memory() {
    return { peakRssBytes: peakRssBytes() };
  },
};

/** The shape with its first axis at `batch`. @throws UserError when another one is symbolic, or the first is fixed otherwise */
function concreteShape(shape: Shape, batch: number): number[] {
  const [first, ...rest] = shape;
  const unknown = rest.find((dim) => typeof dim === 'string');
  if (first === undefined || unknown !== undefined) {
    throw new UserError(`the size of its input [${shape}] is not fixed`);
  }
  if (typeof first === 'number' && first !== batch) {
    throw new UserError(`it takes batches of ${first}, not ${batch}`);
  }
  return [batch, ...(rest as number[])];
}

/** Standard normal pixels; half-precision inputs get bits of numbers between 1/4 and 1. */
function randomTensor({ dtype }: InputSignature, shape: readonly number[]): Tensor {
  const random = new Random(0);
  const size = elementCount(shape);
  if (dtype === 'float32') {
    return Tensor.float32(
      shape,
      Float32Array.from({ length: size }, () => random.normal()),
    );
  }
  if (dtype === 'float16') {
    const bits = Uint16Array.from({ length: size }, () => 0x3400 + random.below(0x800));
    return new Tensor('float16', shape, bits);
  }
  if (dtype === 'uint8') {
    return new Tensor(
      'uint8',
      shape,
      dataTypes.uint8.array.from({ length: size }, () => random.below(256)),
    );
  }
  throw new UserError(`no random images of type ${dtype}`);
}

async function answer(line: string): Promise<object> {
  const request = JSON.parse(line) as LatencyRequest;
  try {
    return await (handlers[request.op] as (request: LatencyRequest) => Promise<object>)(request);
  } catch (error) {
    return {
      error: (error instanceof Error ? error.message : String(error)).trim().replace(/\s*\n\s*/g, ' '),
    };
  }
}

process.on('SIGINT', () => {});
for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await answer(line))}\n`);
}
process.exit(0);
