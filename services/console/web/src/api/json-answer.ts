/** Return the JSON of a route that also answers with CSV, which the client never asks for. Raises TypeError for CSV. */
export function jsonAnswer<T extends object>(answer: T | string): T {
  if (typeof answer === "string") {
    throw new TypeError("the answer is CSV");
  }
  return answer;
}
