import type * as PlotModule from '@observablehq/plot';

/** Top-1 above latency, within these domains. */
export const accuracyAxes = (
  width: number,
  latency: readonly [low: number, high: number],
  top1: readonly [low: number, high: number],
): Pick<PlotModule.PlotOptions, 'x' | 'y'> => ({
  x: {
    domain: latency,
    label: 'median latency (ms)',
    labelAnchor: 'center',
    labelArrow: 'none',
    ticks: width / 90,
  },
  y: { domain: top1, label: 'top-1 (%)', labelArrow: 'none', ticks: 5 },
});

/** The lines behind such a plot. */
export const accuracyGrid = (Plot: typeof PlotModule): PlotModule.Markish[] => [
  Plot.gridY({ stroke: 'var(--grid)', strokeOpacity: 1, ticks: 5 }),
  Plot.ruleX([0], { stroke: 'var(--axis)' }),
];

/** A model this many points below the best one is drawn at the lower edge, with its accuracy. */
const collapse = 15;

/** A range around the accuracies that have not collapsed, at least a point wide and inside 0 to 100. */
export function accuracyDomain(percentages: readonly number[]): [low: number, high: number] {
  const high = Math.max(...percentages);
  const near = percentages.filter((value) => value >= high - collapse);
  const low = Math.min(...(near.length > 1 ? near : percentages));
  const margin = Math.max(0.5, (high - low) * 0.25);
  return [Math.max(0, low - margin), Math.min(100, high + margin)];
}
