/** What charts compute before they draw: axes, shares, gaps, positions. Pure. */

/** The most series that a chart keeps apart. */
export const MOST_SERIES = 8;

/** A number of a chart; null where there is none, which is a gap and no zero. */
export type Point = number | null;

/** Return the values of an axis from zero to at least `highest`, in equal steps of 1, 2, 2.5 or 5 times a power of ten. */
export function axisTicks(highest: number, steps = 4, smallestStep = 0): readonly number[] {
  if (!(highest > 0)) {
    return smallestStep > 0 ? [0, smallestStep] : [0, 1];
  }
  const rough = Math.max(highest / steps, smallestStep);
  const power = 10 ** Math.floor(Math.log10(rough));
  const factor = [1, 2, 2.5, 5, 10].find((each) => each * power >= rough * 0.999999) ?? 10;
  const wanted = factor * power;
  const step = smallestStep > 0 ? Math.ceil(wanted / smallestStep) * smallestStep : wanted;
  const count = Math.max(1, Math.ceil(highest / step - 1e-9));
  return Array.from({ length: count + 1 }, (_, index) => Number((index * step).toPrecision(12)));
}

/** Return the text of micro-dollars on an axis with steps of `step`: as many decimals as tell the steps apart. */
export function moneyTick(micro: number, step: number): string {
  const dollars = micro / 1e6;
  if (micro === 0) {
    return "$0";
  }
  let decimals = 0;
  while (
    decimals < 6 &&
    Math.abs((step / 1e6) * 10 ** decimals - Math.round((step / 1e6) * 10 ** decimals)) > 1e-9
  ) {
    decimals += 1;
  }
  // Cents have two digits, whatever tells the steps apart.
  const shown = decimals === 1 ? 2 : decimals;
  return `$${new Intl.NumberFormat("en-US", { minimumFractionDigits: shown, maximumFractionDigits: shown }).format(dollars)}`;
}

/** Return the text of a duration on an axis. */
export function durationTick(milliseconds: number): string {
  if (milliseconds === 0) {
    return "0 ms";
  }
  if (milliseconds >= 60_000) {
    return `${Number((milliseconds / 60_000).toPrecision(3))} min`;
  }
  return milliseconds < 1000
    ? `${Math.round(milliseconds)} ms`
    : `${Number((milliseconds / 1000).toPrecision(3))} s`;
}

/** Return the highest sum over all series of one position. */
export function highestStack(series: readonly (readonly Point[])[]): number {
  const length = Math.max(0, ...series.map((values) => values.length));
  let highest = 0;
  for (let index = 0; index < length; index += 1) {
    const sum = series.reduce((total, values) => total + (values[index] ?? 0), 0);
    highest = Math.max(highest, sum);
  }
  return highest;
}

/** Return the highest value of all series. */
export function highestPoint(series: readonly (readonly Point[])[]): number {
  return Math.max(0, ...series.flatMap((values) => values.map((value) => value ?? 0)));
}

/** Return whether a point has no neighbour, so that a line through it could not be seen. */
export function isIsolated(values: readonly Point[], index: number): boolean {
  return (
    (values[index] ?? null) !== null &&
    (values[index - 1] ?? null) === null &&
    (values[index + 1] ?? null) === null
  );
}

export interface NamedSeries {
  readonly name: string;
  readonly values: readonly number[];
}

/** Return the series with the highest sums, at most `most`, and the others as one, named `Other (of N)` for all N. */
export function largestSeries(all: readonly NamedSeries[], most = MOST_SERIES): readonly NamedSeries[] {
  const sum = (series: NamedSeries) => series.values.reduce((total, value) => total + value, 0);
  const sorted = [...all].sort((one, two) => sum(two) - sum(one) || one.name.localeCompare(two.name));
  if (sorted.length <= most) {
    return sorted;
  }
  const rest = sorted.slice(most);
  const length = Math.max(...rest.map((series) => series.values.length));
  const values = Array.from({ length }, (_, index) =>
    rest.reduce((total, series) => total + (series.values[index] ?? 0), 0),
  );
  return [...sorted.slice(0, most), { name: `Other (of ${all.length})`, values }];
}

/** Return shares in thousandths that add up to 1000: the largest remainders are rounded up. All are 0 if the sum is. */
export function sharesPermille(amounts: readonly number[]): readonly number[] {
  const sum = amounts.reduce((total, amount) => total + amount, 0);
  if (!(sum > 0)) {
    return amounts.map(() => 0);
  }
  const exact = amounts.map((amount) => (amount / sum) * 1000);
  const shares = exact.map(Math.floor);
  let left = 1000 - shares.reduce((total, share) => total + share, 0);
  const byRemainder = exact
    .map((value, index) => ({ index, remainder: value - Math.floor(value) }))
    .sort((one, two) => two.remainder - one.remainder);
  for (const { index } of byRemainder) {
    if (left <= 0) {
      break;
    }
    shares[index] = (shares[index] ?? 0) + 1;
    left -= 1;
  }
  return shares;
}

/** Return a share in thousandths in words; what is not nothing is never 0 %. */
export function shareText(permille: number, amount: number): string {
  if (permille === 0 && amount > 0) {
    return "<0.1 %";
  }
  return permille % 10 === 0 || (permille >= 100 && permille <= 900)
    ? `${Math.round(permille / 10)} %`
    : `${permille / 10} %`;
}

/** Return where on a track of `total` a span is, in per cent: at least `least` wide and never beyond the end. */
export function trackPosition(
  start: number,
  length: number,
  total: number,
  least = 0.4,
): { readonly left: number; readonly width: number } {
  if (!(total > 0)) {
    return { left: 0, width: least };
  }
  const clamp = (value: number) => Math.min(100, Math.max(0, value));
  const from = clamp((start / total) * 100);
  const width = Math.max(least, clamp(((start + length) / total) * 100) - from);
  return { left: Math.min(from, 100 - width), width };
}

/** Return the SVG path of a line through points from zero at the bottom, broken where there is none. */
export function sparkPath(values: readonly Point[], width: number, height: number): string {
  const highest = Math.max(0, ...values.map((value) => value ?? 0));
  const stepX = values.length > 1 ? width / (values.length - 1) : 0;
  const parts: string[] = [];
  let open = false;
  values.forEach((value, index) => {
    if (value === null) {
      open = false;
      return;
    }
    const x = (index * stepX).toFixed(1);
    const y = (highest > 0 ? height - (value / highest) * height : height).toFixed(1);
    // A point without neighbours is a line of no length, which round caps make a dot.
    parts.push(open ? `L${x} ${y}` : `M${x} ${y}${isIsolated(values, index) ? `L${x} ${y}` : ""}`);
    open = true;
  });
  return parts.join("");
}

/** Return the position after a key is pressed in a chart with `count` positions; undefined if the key means nothing. */
export function moveTo(key: string, current: number | null, count: number): number | null | undefined {
  const last = count - 1;
  switch (key) {
    case "ArrowRight":
    case "ArrowUp":
      return current === null ? 0 : Math.min(last, current + 1);
    case "ArrowLeft":
    case "ArrowDown":
      return current === null ? last : Math.max(0, current - 1);
    case "PageUp":
      return current === null ? 0 : Math.min(last, current + 7);
    case "PageDown":
      return current === null ? last : Math.max(0, current - 7);
    case "Home":
      return 0;
    case "End":
      return last;
    case "Escape":
      return null;
    default:
      return undefined;
  }
}

/** Return the position below a pointer `x` pixels from the left of a chart, whose plot begins and ends at these insets. */
export function positionAt(
  x: number,
  width: number,
  left: number,
  right: number,
  count: number,
): number | null {
  const plot = width - left - right;
  if (plot <= 0 || count === 0 || x < left || x > width - right) {
    return null;
  }
  return Math.min(count - 1, Math.floor(((x - left) / plot) * count));
}
