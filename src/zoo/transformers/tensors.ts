import { toFloat32 } from '../../checkpoint/to-float32.ts';
import { UserError } from '../../common/errors.ts';
import { elementCount, Tensor } from '../../graph/tensor.ts';

/**
 * Tensors one below the other, read when they are asked for.
 * @throws UserError when one is missing or not as wide as the others
 */
export function joinedRows(name: string, parts: readonly (Tensor | undefined)[]): Tensor {
  const tensors = Array.from(parts, (part) => {
    if (!part) throw new UserError(`a part of ${name} is missing`);
    return toFloat32(name, part);
  });
  const inner = tensors[0]!.shape.slice(1);
  if (tensors.some(({ shape }) => `${shape.slice(1)}` !== `${inner}`)) {
    throw new UserError(`the parts of ${name} are not of the same width`);
  }
  const shape = [tensors.reduce((sum, tensor) => sum + tensor.shape[0]!, 0), ...inner];
  return new Tensor('float32', shape, () => {
    const data = new Float32Array(elementCount(shape));
    let at = 0;
    for (const tensor of tensors) {
      data.set(tensor.floats, at);
      at += tensor.size;
      tensor.release();
    }
    return data;
  });
}

/** Some rows of a tensor, read when they are asked for. */
export function rowsOf(name: string, tensor: Tensor, first: number, end: number): Tensor {
  const source = toFloat32(name, tensor);
  const inner = source.shape.slice(1);
  const width = elementCount(inner);
  return new Tensor('float32', [end - first, ...inner], () =>
    source.floats.slice(first * width, end * width),
  );
}

/** The same elements in another shape. */
export function reshaped(name: string, tensor: Tensor, shape: readonly number[]): Tensor {
  const source = toFloat32(name, tensor);
  return new Tensor('float32', shape, () => source.floats);
}

/** A convolution's weight `[out, in, h, w]` for images whose channels are in the opposite order. */
export function reversedChannels(name: string, tensor: Tensor): Tensor {
  const source = toFloat32(name, tensor);
  const [out, channels, ...window] = source.shape as [number, number, ...number[]];
  const area = elementCount(window);
  return new Tensor('float32', source.shape, () => {
    const data = new Float32Array(source.size);
    for (let i = 0; i < out * channels; i++) {
      const mirrored = i - (i % channels) + channels - 1 - (i % channels);
      data.set(source.floats.subarray(i * area, (i + 1) * area), mirrored * area);
    }
    return data;
  });
}
