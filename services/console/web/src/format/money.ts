/** Money as text. Amounts are integers of micro-dollars on the wire, as numbers or as text; they are never rounded by floats. */

const MICRO = 1_000_000n;
export type MicroUsd = number | bigint | string;

/** Return an integer of micro-dollars. Raises RangeError for a number that is no safe integer, SyntaxError for other text. */
export function toMicroUsd(amount: MicroUsd): bigint {
  return BigInt(amount);
}

/** Return a total with two decimals, such as `$1,188.82`; less than a cent that is not zero gets six, never `$0.00`. */
export function formatTotal(amount: MicroUsd): string {
  const micro = toMicroUsd(amount);
  const absolute = micro < 0n ? -micro : micro;
  if (absolute !== 0n && absolute < 10_000n) {
    return formatExact(micro);
  }
  const cents = (absolute + 5_000n) / 10_000n;
  return `${micro < 0n ? "−" : ""}$${group(cents / 100n)}.${String(cents % 100n).padStart(2, "0")}`;
}

/** Return the amount of a single request with all six decimals, such as `$0.003912`. */
export function formatExact(amount: MicroUsd): string {
  const micro = toMicroUsd(amount);
  const absolute = micro < 0n ? -micro : micro;
  const sign = micro < 0n ? "−" : "";
  return `${sign}$${group(absolute / MICRO)}.${String(absolute % MICRO).padStart(6, "0")}`;
}

/** Return micro-dollars as dollars for the length of a bar or the height of a point, where a rounding does not matter. */
export function toChartDollars(amount: MicroUsd): number {
  return Number(toMicroUsd(amount)) / 1e6;
}

/** Return the micro-dollars that a person has typed as dollars, such as `12.50`; null if it is no amount. */
export function parseDollars(text: string): bigint | null {
  const match = /^\$?\s*(\d{1,12})(?:\.(\d{1,6}))?$/.exec(text.trim().replaceAll(",", ""));
  if (!match?.[1]) {
    return null;
  }
  return BigInt(match[1]) * MICRO + BigInt((match[2] ?? "").padEnd(6, "0"));
}

function group(whole: bigint): string {
  return new Intl.NumberFormat("en-US").format(whole);
}

/** Return micro-dollars of a decimal amount of dollars such as `0.0039125`, rounded half up; for sums use the API's integers. */
export function decimalToMicroUsd(dollars: string): bigint {
  const match = /^(-?)(\d+)(?:\.(\d+))?$/.exec(dollars);
  if (!match?.[2]) {
    throw new RangeError(`no decimal amount: ${dollars}`);
  }
  const fraction = (match[3] ?? "").padEnd(7, "0");
  const micro =
    BigInt(match[2]) * MICRO + BigInt(fraction.slice(0, 6)) + (Number(fraction[6]) >= 5 ? 1n : 0n);
  return match[1] ? -micro : micro;
}

/** Return a decimal amount of dollars as money; one that is not zero never reads as zero. */
export function formatDollars(dollars: string, exact = false): string {
  const micro = decimalToMicroUsd(dollars);
  if (micro === 0n && /[1-9]/.test(dollars)) {
    return dollars.startsWith("-") ? "> −$0.000001" : "< $0.000001";
  }
  return exact ? formatExact(micro) : formatTotal(micro);
}
