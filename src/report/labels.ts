export interface LabelledPoint {
  /** Pixels. */
  readonly x: number;
  readonly y: number;
  readonly text: string;
}

export interface LabelPlacement {
  /** Where the text stands from its point, in pixels, and which of its ends is there. */
  readonly dx: number;
  readonly dy: number;
  readonly textAnchor: 'start' | 'middle' | 'end';
}

interface Box {
  left: number;
  right: number;
  top: number;
  bottom: number;
}

/** From best to worst: beside the point, above and below it, then the corners, then farther off. */
const placements: readonly LabelPlacement[] = [1, 1.8, 2.6, 3.4].flatMap((far): LabelPlacement[] => [
  { dx: 10 * far, dy: 0, textAnchor: 'start' },
  { dx: 0, dy: -14 * far, textAnchor: 'middle' },
  { dx: 0, dy: 14 * far, textAnchor: 'middle' },
  { dx: -10 * far, dy: 0, textAnchor: 'end' },
  { dx: 8, dy: -14 * far, textAnchor: 'start' },
  { dx: 8, dy: 14 * far, textAnchor: 'start' },
  { dx: -8, dy: -14 * far, textAnchor: 'end' },
  { dx: -8, dy: 14 * far, textAnchor: 'end' },
]);

/**
 * A place for each point's label such that labels cover neither each other nor a point, and stay
 * inside the frame; where there is room, they don't cover the line that joins the points either. Each
 * takes the first free place of a fixed list.
 * @param fontSize pixels
 */
export function placeLabels(
  points: readonly LabelledPoint[],
  frame: Box,
  fontSize: number,
): LabelPlacement[] {
  const taken: Box[] = points.map((point) => around(point, 6));
  const line = lineBoxes(points);
  return points.map((point, own) => {
    const inside = (box: Box) =>
      box.left >= frame.left &&
      box.right <= frame.right &&
      box.top >= frame.top &&
      box.bottom <= frame.bottom;
    const free = placements.filter((candidate) => {
      const box = labelBox(point, candidate, fontSize);
      return inside(box) && taken.every((other, i) => i === own || !overlaps(box, other));
    });
    const offTheLine = free.find((candidate) => {
      const box = labelBox(point, candidate, fontSize);
      return line.every((other) => !overlaps(box, other));
    });
    const place = offTheLine ?? free[0] ?? placements[0]!;
    taken.push(labelBox(point, place, fontSize));
    return place;
  });
}

const around = ({ x, y }: { x: number; y: number }, reach: number): Box => ({
  left: x - reach,
  right: x + reach,
  top: y - reach,
  bottom: y + reach,
});

/** Small boxes along the line through the points. */
function lineBoxes(points: readonly LabelledPoint[]): Box[] {
  return points.slice(1).flatMap((end, i) => {
    const start = points[i]!;
    const steps = Math.ceil(Math.hypot(end.x - start.x, end.y - start.y) / 4);
    return Array.from({ length: steps }, (_, step) => {
      const along = step / steps;
      return around({ x: start.x + along * (end.x - start.x), y: start.y + along * (end.y - start.y) }, 1);
    });
  });
}

/** About how much room a label takes; sans-serif letters are some 0.56 of their size wide. */
export function labelBox(
  { x, y, text }: LabelledPoint,
  { dx, dy, textAnchor }: LabelPlacement,
  fontSize: number,
): Box {
  const width = text.length * fontSize * 0.56;
  const left = x + dx - (textAnchor === 'start' ? 0 : textAnchor === 'middle' ? width / 2 : width);
  return { left, right: left + width, top: y + dy - fontSize * 0.6, bottom: y + dy + fontSize * 0.6 };
}

export function overlaps(a: Box, b: Box): boolean {
  return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
}
