/** How long credits last, from what the last two weeks have taken. Pure. */

/** What one whole day has taken, and which day of the week it was (0 to 6). */
export interface DayCharge {
  readonly weekday: number;
  readonly micro: number;
}

export interface Lasting {
  /** Days until the credits are used up: most likely, and in four of five cases between the others. */
  readonly likely: number;
  readonly least: number;
  readonly most: number;
  /** What a mean day takes. */
  readonly perDay: number;
}

/** Beyond this many days nobody plans, and the sentence says "more than a year". */
export const FAR = 366;
const LEAST_DAYS = 3;
const Z_FOUR_OF_FIVE = 1.2816;

/** Return what each day of the week takes; the mean of all where one was not seen. */
function weekOf(days: readonly DayCharge[], mean: number): readonly number[] {
  return Array.from({ length: 7 }, (_, weekday) => {
    const same = days.filter((day) => day.weekday === weekday);
    return days.length < 7 || same.length === 0
      ? mean
      : same.reduce((total, day) => total + day.micro, 0) / same.length;
  });
}

/** Return the balances at the end of today and of the days after it, until nothing is left or `most` days have passed. */
export function project(
  balance: number,
  week: readonly number[],
  today: number,
  factor: number,
  most = FAR,
): readonly number[] {
  const balances = [balance];
  let left = balance;
  for (let day = 1; day <= most && left > 0; day += 1) {
    left = Math.max(0, left - (week[(today + day) % 7] ?? 0) * factor);
    balances.push(left);
  }
  return balances;
}

export interface BurnDown {
  readonly lasting: Lasting;
  readonly likely: readonly number[];
  /** If days take as little, or as much, as they do in one of ten cases. */
  readonly slow: readonly number[];
  readonly fast: readonly number[];
}

/** Return how long a balance lasts; null if too few days are known, or nothing was taken. `today` is the day of the week. */
export function burnDown(balance: number, days: readonly DayCharge[], today: number): BurnDown | null {
  const mean = days.reduce((total, day) => total + day.micro, 0) / Math.max(1, days.length);
  if (days.length < LEAST_DAYS || mean <= 0 || balance <= 0) {
    return null;
  }
  const week = weekOf(days, mean);
  // What is left when the days of the week are taken out varies from day to day.
  const squares = days.reduce((total, day) => total + (day.micro - (week[day.weekday] ?? mean)) ** 2, 0);
  const spread = Math.sqrt(squares / Math.max(1, days.length - 1));
  const error = (Z_FOUR_OF_FIVE * spread) / Math.sqrt(days.length);
  const relative = Math.min(0.9, error / mean);
  const [likely, slow, fast] = [1, 1 - relative, 1 + relative].map((factor) =>
    project(balance, week, today, factor),
  );
  const count = (balances: readonly number[] | undefined) => (balances ?? [0]).length - 1;
  return {
    likely: likely ?? [],
    slow: slow ?? [],
    fast: fast ?? [],
    lasting: { likely: count(likely), least: count(fast), most: count(slow), perDay: mean },
  };
}

/** Return how long credits last, in words: `about 14 days (11 to 19)`. */
export function lastingText(lasting: Lasting): string {
  if (lasting.least >= FAR) {
    return "more than a year";
  }
  const days = (count: number) => (count >= FAR ? "more than a year" : String(count));
  const range = lasting.least === lasting.most ? "" : ` (${lasting.least} to ${days(lasting.most)})`;
  return lasting.likely >= FAR
    ? `more than a year${range}`
    : `about ${lasting.likely} ${lasting.likely === 1 ? "day" : "days"}${range}`;
}

export interface BalanceEntry {
  readonly at: string;
  /** In micro-dollars, after the entry. */
  readonly balance: number;
}

/** Return the balance at each of these moments, from entries with the newest first; null before the first entry. */
export function balancesAt(
  entries: readonly BalanceEntry[],
  moments: readonly string[],
): readonly (number | null)[] {
  return moments.map((moment) => {
    const at = Date.parse(moment);
    return entries.find((entry) => Date.parse(entry.at) < at)?.balance ?? null;
  });
}
