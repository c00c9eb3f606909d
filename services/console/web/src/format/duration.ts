/** Durations as text. */

/** Return milliseconds for people: `14 ms`, `1.48 s`, `2 min 5 s`. */
export function formatDuration(milliseconds: number): string {
  if (milliseconds < 1000) {
    return `${Math.round(milliseconds)} ms`;
  }
  if (milliseconds < 60_000) {
    return `${(milliseconds / 1000).toFixed(2)} s`;
  }
  return formatLongDuration(milliseconds / 1000);
}

/** Return microseconds for people: `84 µs`, `1.24 ms`, `617 ms`, `1.48 s`. */
export function formatMicroseconds(microseconds: number): string {
  if (microseconds < 1000) {
    return `${Math.round(microseconds)} µs`;
  }
  const milliseconds = microseconds / 1000;
  return milliseconds < 10 ? `${milliseconds.toFixed(2)} ms` : formatDuration(milliseconds);
}

/** Return seconds in at most two units: `45 s`, `2 min 5 s`, `3 h 10 min`, `14 d 2 h`. */
export function formatLongDuration(seconds: number): string {
  const total = Math.max(0, Math.round(seconds));
  const units: [number, string][] = [
    [86_400, "d"],
    [3600, "h"],
    [60, "min"],
    [1, "s"],
  ];
  const first = units.findIndex(([size]) => total >= size);
  if (first === -1) {
    return "0 s";
  }
  let rest = total;
  const parts: string[] = [];
  for (const [size, name] of units.slice(first, first + 2)) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count > 0) {
      parts.push(`${count} ${name}`);
    }
  }
  return parts.join(" ");
}
