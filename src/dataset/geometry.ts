import type { Preprocessing } from './preprocessing.ts';

/** Where the input comes from: the image is resized, then a window of the input's size is cut from it. */
export interface Geometry {
  /** Size to resize the whole image to. */
  readonly resize: { readonly width: number; readonly height: number };
  /** The window's corner in the resized image; negative where the window reaches over its edge. */
  readonly left: number;
  readonly top: number;
}

/**
 * The geometry of timm's evaluation transform (`transforms_imagenet_eval`) for one image, rounding as
 * Python and torchvision do, one case a crop mode. With a non-square input, `center` scales by the
 * edge that needs it more and rounds to nearest; with a square one, the longer edge is cut to a whole
 * number, as torchvision's `Resize(int)` does.
 */
export function evalGeometry(
  image: { width: number; height: number },
  { inputSize, cropPct, cropMode }: Preprocessing,
): Geometry {
  const [, height, width] = inputSize;
  const scaled = { width: Math.floor(width / cropPct), height: Math.floor(height / cropPct) };
  const resize =
    cropMode === 'squash'
      ? scaled
      : cropMode === 'center' && scaled.width === scaled.height
        ? shortEdge(image, scaled.width)
        : keepRatio(image, scaled, cropMode === 'border' ? Math.max : Math.min);
  return { resize, ...centerWindow(resize, { width, height }) };
}

/** Whether `evalGeometry` resizes with bilinear whatever the configuration says: timm forgets to pass it on. */
export function ignoresInterpolation({ inputSize, cropPct, cropMode }: Preprocessing): boolean {
  const [, height, width] = inputSize;
  return cropMode === 'center' && Math.floor(width / cropPct) !== Math.floor(height / cropPct);
}

/** Python's `round`: halves go to the even neighbour. */
export function roundHalfEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return Math.round(value);
  return floor % 2 === 0 ? floor : floor + 1;
}

interface Size {
  readonly width: number;
  readonly height: number;
}

function shortEdge({ width, height }: Size, edge: number): Size {
  return width <= height
    ? { width: edge, height: Math.trunc((edge * height) / width) }
    : { width: Math.trunc((edge * width) / height), height: edge };
}

function keepRatio(image: Size, target: Size, choose: (a: number, b: number) => number): Size {
  const ratio = choose(image.width / target.width, image.height / target.height);
  return {
    width: Math.max(1, roundHalfEven(image.width / ratio)),
    height: Math.max(1, roundHalfEven(image.height / ratio)),
  };
}

/**
 * The centred window. Where it is larger than the image the margins are split with the odd pixel at
 * the far side; where it is smaller the corner is rounded to even.
 */
function centerWindow(image: Size, window: Size): { left: number; top: number } {
  const corner = (size: number, wanted: number) =>
    wanted > size ? -Math.floor((wanted - size) / 2) : roundHalfEven((size - wanted) / 2);
  return { left: corner(image.width, window.width), top: corner(image.height, window.height) };
}
