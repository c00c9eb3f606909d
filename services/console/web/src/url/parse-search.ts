/** Return the parameters of an address with all values of each. Names may be anything, such as `constructor`. */
export function parseSearch(search: string): Record<string, string[]> {
  const values = new Map<string, string[]>();
  new URLSearchParams(search).forEach((value, name) => {
    values.set(name, [...(values.get(name) ?? []), value]);
  });
  return Object.fromEntries(values);
}
