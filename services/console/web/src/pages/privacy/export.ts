/** Whether an export is complete. Pure. */

/** Return whether the end of an export's text has its last line, whose kind is `end`. */
export function isCompleteExport(tail: string): boolean {
  const last = tail.trimEnd().split("\n").at(-1) ?? "";
  try {
    const line: unknown = JSON.parse(last);
    return typeof line === "object" && line !== null && "kind" in line && line.kind === "end";
  } catch {
    return false;
  }
}
