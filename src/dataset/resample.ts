import { type AttributeInput, float } from '../graph/attribute.ts';
import { Graph } from '../graph/graph.ts';
import { inferGraph } from '../graph/infer.ts';
import { Tensor } from '../graph/tensor.ts';
import type { Engine, Session } from '../runtime/session.ts';
import type { RawImage } from './dataset.ts';
import type { Interpolation } from './preprocessing.ts';

/** Resizes images as Pillow does. Loads what it needs on first use; `dispose` frees it. */
export interface Resampler {
  resize(image: RawImage, width: number, height: number, interpolation: Interpolation): Promise<RawImage>;
  dispose(): Promise<void>;
}

/**
 * Pillow's filters are those of the ONNX operator `Resize` with `antialias` (the filter widens with
 * the reduction, taps outside the image are left out and the rest renormalized) and, for bicubic, the
 * coefficient -0.5. The engine rounds to 8 bits between the two passes as Pillow does: over the cases
 * of `conformance/check_preprocess.py` 0.03 % of the values differ, by two grey levels at most. libvips,
 * which decodes our images, is no substitute: it shrinks by averaging first, and at a reduction of 16
 * is more than 2 levels off in 20 % of a photograph.
 */
const resizeAttributes: Record<Interpolation, Record<string, AttributeInput>> = {
  bicubic: { mode: 'cubic', cubic_coeff_a: float(-0.5) },
  bilinear: { mode: 'linear' },
};

/** A resampler that computes on `engine`. */
export function createResampler(engine: Engine, { threads }: { threads?: number } = {}): Resampler {
  const sessions = new Map<Interpolation, Promise<Session>>();
  const session = (interpolation: Interpolation): Promise<Session> => {
    const loading =
      sessions.get(interpolation) ??
      engine.load(resizeGraph(interpolation), {
        threads,
        config: { 'session.intra_op.allow_spinning': '0' },
      });
    sessions.set(interpolation, loading);
    return loading;
  };
  return {
    async resize(image, width, height, interpolation) {
      if (image.width === width && image.height === height) return image;
      const { resized } = await (await session(interpolation)).run({
        image: new Tensor('uint8', [1, image.height, image.width, image.channels], image.data),
        size: Tensor.int64([height, width]),
      });
      return { width, height, channels: image.channels, data: resized!.data as Uint8Array };
    },
    async dispose() {
      const loaded = [...sessions.values()];
      sessions.clear();
      await Promise.all(loaded.map(async (loading) => (await loading).dispose()));
    },
  };
}

/** `image` uint8 `[1, H, W, C]`, `size` int64 `[2]` (height, width) -> `resized` uint8 `[1, h, w, C]`. */
function resizeGraph(interpolation: Interpolation): Graph {
  const graph = new Graph('resize');
  const image = graph.addInput('image', 'uint8', [1, 'H', 'W', 'C']);
  const size = graph.addInput('size', 'int64', [2]);
  const transpose = { opType: 'Transpose', inputs: [image], attributes: { perm: [0, 3, 1, 2] } };
  const planes = graph.addNode(transpose).output();
  const outer = graph.addNode({ opType: 'Shape', inputs: [planes], attributes: { start: 0, end: 2 } });
  const sizes = graph.addNode({
    opType: 'Concat',
    inputs: [outer.output(), size],
    attributes: { axis: 0 },
  });
  const resize = graph.addNode({
    opType: 'Resize',
    inputs: [planes, undefined, undefined, sizes.output()],
    attributes: { antialias: 1, exclude_outside: 1, ...resizeAttributes[interpolation] },
  });
  const rows = graph.addNode({
    opType: 'Transpose',
    inputs: [resize.output()],
    outputs: ['resized'],
    attributes: { perm: [0, 2, 3, 1] },
  });
  graph.outputs.push(rows.output());
  inferGraph(graph);
  return graph;
}
