/** What an entry of the audit log says about a change. */

export interface AuditChange {
  readonly field: string;
  readonly before: string | null;
  readonly after: string;
}

const ARROW = " → ";

/** Split the details of an entry, `{field: "old → new"}`, into the values before and after. */
export function auditChanges(details: Record<string, unknown> | undefined): readonly AuditChange[] {
  return Object.entries(details ?? {}).map(([field, value]) => {
    const text = typeof value === "string" ? value : JSON.stringify(value);
    const arrow = text.indexOf(ARROW);
    return arrow === -1
      ? { field, before: null, after: text }
      : { field, before: text.slice(0, arrow), after: text.slice(arrow + ARROW.length) };
  });
}

/** Return an action such as `key.add` in words: `key: add`. */
export function actionWords(action: string): string {
  const [object = "", verb = ""] = action.split(".", 2);
  const words = (part: string) => part.replaceAll("_", " ");
  return verb ? `${words(object)}: ${words(verb)}` : words(object);
}
