/** Return a value of a record by a name from outside, which may be `constructor` or `__proto__`; undefined if it has none. */
export function ownValue<T>(record: Readonly<Record<string, T>> | undefined, name: string): T | undefined {
  return record !== undefined && Object.hasOwn(record, name) ? record[name] : undefined;
}
