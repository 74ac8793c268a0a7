/** Three significant digits and a unit of thousands: `86.6 M`; whole numbers below a thousand as they are. */
function scaled(value: number, units: readonly string[]): string {
  let unit = 0;
  let rest = value;
  while (rest >= 999.5 && unit < units.length - 1) {
    rest /= 1000;
    unit++;
  }
  return `${unit === 0 ? String(Math.round(rest)) : significant(rest)} ${units[unit]}`.trim();
}

/** Three significant digits, more only before the point, no exponent. */
function significant(value: number): string {
  const rounded = Number(value.toPrecision(3));
  const digits = Math.floor(Math.log10(Math.abs(rounded) || 1));
  return value.toFixed(Math.min(4, Math.max(0, 2 - digits)));
}

/** `71.2 M` */
export const formatCount = (value: number): string => scaled(value, ['', 'k', 'M', 'G']);

/** `17.6 G` */
export const formatMacs = (value: number): string => scaled(value, ['', 'k', 'M', 'G', 'T']);

/** Decimal units, as file managers and download pages use them: `86.4 MB`. */
export const formatBytes = (value: number): string => scaled(value, ['B', 'kB', 'MB', 'GB', 'TB']);

/** `36.6 ms`, `0.142 ms`, `1.20 s` */
export function formatMilliseconds(value: number): string {
  return value >= 999.5 ? `${significant(value / 1000)} s` : `${significant(value)} ms`;
}

/** A share as a percentage with two decimals, enough to tell one image in ten thousand: `97.36 %`. */
export const formatPercent = (share: number): string => `${(share * 100).toFixed(2)} %`;

/** `3.13x` */
export const formatSpeedup = (factor: number): string =>
  `${factor < 10 ? factor.toFixed(2) : factor.toFixed(1)}x`;

/** A difference of two shares in percentage points, signed: `-0.28`. */
export function formatPoints(difference: number): string {
  const text = (Math.abs(difference) * 100).toFixed(2);
  if (Number(text) === 0) return '0.00';
  return `${difference < 0 ? '−' : '+'}${text}`;
}
