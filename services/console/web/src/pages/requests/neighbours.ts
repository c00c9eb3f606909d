/** The requests of the list that was shown last, so that the page of one leads to those before and after it. */

let listed: readonly string[] = [];
let address = "";

/** Remember the ids of a list in its order, and the address of the list with its filters. */
export function rememberList(ids: readonly string[], path: string): void {
  listed = ids;
  address = path;
}

export interface Neighbours {
  readonly newer: string | null;
  readonly older: string | null;
}

/** Return the ids beside one in the list that was shown last. */
export function neighboursOf(id: string): Neighbours {
  const at = listed.indexOf(id);
  return at === -1
    ? { newer: null, older: null }
    : { newer: listed[at - 1] ?? null, older: listed[at + 1] ?? null };
}

/** Return the address of the list that was shown last, if it is below `path`; else `path`. */
export function lastListAddress(path: string): string {
  return address === path || address.startsWith(`${path}?`) ? address : path;
}
