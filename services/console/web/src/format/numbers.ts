/** Counts, shares and changes as text. */

const EXACT = new Intl.NumberFormat("en-US");
const COMPACT = new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 1 });

/** Return a count with thousands separators. */
export function formatCount(count: number | bigint): string {
  return EXACT.format(count);
}

/** Return a large count in short, such as `2.5B`; one of at most four digits is exact. */
export function formatCompact(count: number | bigint): string {
  return count < 10_000 && count > -10_000 ? EXACT.format(count) : COMPACT.format(count);
}

/** Return a share between 0 and 1 as a percentage; a share that is neither none nor all is never shown as 0 % or 100 %. */
export function formatShare(share: number, decimals = 1): string {
  const smallest = 10 ** -decimals;
  const percent = share * 100;
  if (percent > 0 && percent < smallest) {
    return `<${smallest} %`;
  }
  if (percent < 100 && percent > 100 - smallest) {
    return `>${100 - smallest} %`;
  }
  return `${percent.toFixed(decimals).replace(/\.0+$/, "")} %`;
}

/** Return the relative change from `before` to `now`, such as `0.028`; null if there was nothing before. */
export function relativeChange(now: number, before: number): number | null {
  return before === 0 ? null : (now - before) / before;
}

/** Return a count with its noun, such as `1 request` or `12 requests`. */
export function countOf(count: number, singular: string, plural = `${singular}s`): string {
  return `${formatCount(count)} ${count === 1 ? singular : plural}`;
}
