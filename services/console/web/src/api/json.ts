/** Return the JSON of an answer that the API can also give as CSV; CSV is sent only when it is asked for. */
export function asJson<T>(data: T): Exclude<T, string> {
  if (typeof data === "string") {
    throw new TypeError("the management API answered with text where JSON was asked for");
  }
  return data as Exclude<T, string>;
}
